"""What sensors and triggers find out: which leads wait, and which have arrived. Reads alone."""
