"""
The page "Lead deliveries" in Airflow's navigation (Contract 8.4).

An Airflow plugin can put a page into the UI in two ways. A React app becomes part of the UI's own
bundle at run time: it shares the UI's React, its interface is called experimental in Airflow's
documentation, and it would need a build step here. An external view is an ordinary page in a frame:
it depends on nothing but HTTP and the browser, so this provider takes that one, with plain HTML,
CSS and JavaScript modules that are served as they are written.

The frame is sandboxed: no link leaves it by itself, and its address is not the browser's. What that
takes is in one place, ``static/frame.js``.
"""
