"""Each kind of server, with the settings that matter: who keeps a connection, and how long."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers.running import Server, Site, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_NGINX = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 2;
events {{ worker_connections 2048; }}
http {{
  log_format ids '$http_webhook_id';
  access_log {access};
  client_max_body_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  server {{
    listen 127.0.0.1:{port} ssl backlog=2048;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    {settings}
    location / {{ {action} }}
  }}
}}
"""

_APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
User www-data
Group www-data
Listen 127.0.0.1:{port}
ListenBacklog 2048
SSLEngine on
SSLCertificateFile {folder}/server.pem
SSLCertificateKeyFile {folder}/server.pem
SSLCACertificateFile {folder}/authority.pem
ProxyPass / http://127.0.0.1:{upstream}/
{settings}
"""
_MODULES = "/usr/lib/apache2/modules"

_HAPROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive {keep_alive}
frontend tls
  bind 127.0.0.1:{port} ssl crt {folder}/server.pem
  default_backend application
backend application
  server one 127.0.0.1:{upstream}
"""

_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
MaxClients 500
Timeout 600
"""


@contextmanager
def nginx(site: Site, settings: tuple[str, ...] = ()) -> Iterator[Server]:
    """Answer by itself; what arrives is in its access log."""
    action = "return 200 '{\"ok\": true}';"
    with _nginx(site, settings, f"{site.arrived} ids", action) as (server, _):
        yield server


@contextmanager
def nginx_reloading(site: Site, settings: tuple[str, ...], *, every: float) -> Iterator[Server]:
    """Do the same under `nginx -s reload` again and again, which is this signal to its master."""
    action = "return 200 '{\"ok\": true}';"
    with _nginx(site, settings, f"{site.arrived} ids", action) as (server, process):
        over = threading.Event()

        def reload() -> None:
            while not over.wait(every):
                process.send_signal(signal.SIGHUP)

        reloading = threading.Thread(target=reload)
        reloading.start()
        yield server
        over.set()
        reloading.join()


@contextmanager
def nginx_before_application(site: Site, settings: tuple[str, ...] = ()) -> Iterator[Server]:
    """Pass requests on to an application, which counts them."""
    with (
        python(site, certificate=False) as upstream,
        _nginx(site, settings, "off", f"proxy_pass http://127.0.0.1:{upstream.port};") as (
            server,
            _,
        ),
    ):
        yield server


@contextmanager
def _nginx(site: Site, settings: tuple[str, ...], access: str, action: str):
    port = free_port()
    text = _NGINX.format(
        folder=site.folder, port=port, access=access, action=action, settings="\n".join(settings)
    )
    with running(site, port, "nginx", "-c", site.write("nginx.conf", text)) as process:
        yield Server(port), process


@contextmanager
def apache(site: Site, settings: tuple[str, ...] = ()) -> Iterator[Server]:
    """Pass requests on to an application, which counts them."""
    port = free_port()
    with python(site, certificate=False, options=("--protocol", "HTTP/1.0")) as upstream:
        text = _APACHE.format(
            folder=site.folder,
            modules=_MODULES,
            port=port,
            upstream=upstream.port,
            settings="\n".join(settings),
        )
        path = site.write("apache.conf", text)
        with running(site, port, "apache2", "-f", path, "-DFOREGROUND"):
            yield Server(port)


@contextmanager
def haproxy(site: Site, keep_alive: str) -> Iterator[Server]:
    """Pass requests on to an application, which counts them."""
    port = free_port()
    with python(site, certificate=False) as upstream:
        text = _HAPROXY.format(
            folder=site.folder, port=port, upstream=upstream.port, keep_alive=keep_alive
        )
        with running(site, port, "haproxy", "-db", "-f", site.write("haproxy.cfg", text)):
            yield Server(port)


@contextmanager
def uwsgi(site: Site) -> Iterator[Server]:
    """Serve by its HTTPS router, which closes after each answer without saying so."""
    port, pem = free_port(), site.certificate
    command = ("uwsgi", "--plugins", "http,python3", "--https", f"127.0.0.1:{port},{pem},{pem}",
               "--master", "--die-on-term", "--processes", 2, "--listen", 100, "--need-app",
               "--wsgi-file", "wsgi.py")  # fmt: skip
    with running(site, port, *command, ARRIVED=str(site.arrived)):
        yield Server(port)


@contextmanager
def gunicorn(site: Site, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """Serve TLS itself, as its documentation shows."""
    port, pem = free_port(), site.certificate
    command = ("gunicorn", "--bind", f"127.0.0.1:{port}", "--certfile", pem, "--keyfile", pem,
               *options, "wsgi:application")  # fmt: skip
    with running(site, port, *command, ARRIVED=str(site.arrived)):
        yield Server(port)


@contextmanager
def uvicorn(site: Site, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """Serve TLS itself; what FastAPI runs on."""
    port, pem = free_port(), site.certificate
    command = (sys.executable, "-m", "uvicorn", "--port", port, "--ssl-certfile", pem,
               "--ssl-keyfile", pem, "--lifespan", "off", *options, "asgi:application")  # fmt: skip
    with running(site, port, *command, ARRIVED=str(site.arrived)):
        yield Server(port)


@contextmanager
def node(site: Site, keep_alive: tuple[int, ...] = ()) -> Iterator[Server]:
    """Serve by Node's https, with its own keepAliveTimeout or one in milliseconds."""
    port = free_port()
    command = ("node", "receiver.js", port, site.arrived, site.certificate, *keep_alive)
    with running(site, port, *command):
        yield Server(port)


@contextmanager
def python(
    site: Site, *, certificate: bool = True, options: tuple[object, ...] = ()
) -> Iterator[Server]:
    """Serve by Python's http.server, over TLS or as an application behind others."""
    port = free_port()
    tls = ("--certificate", site.certificate) if certificate else ()
    program = (sys.executable, "receiver.py", port, site.arrived)
    with running(site, port, *program, *tls, *options):
        yield Server(port)


@contextmanager
def tinyproxy(site: Site, settings: tuple[str, ...] = ()) -> Iterator[Server]:
    """Make a tunnel to nginx: the way to the proxy is what is slow."""
    port = free_port()
    path = site.write("tinyproxy.conf", _TINYPROXY.format(port=port))
    with (
        nginx(site, settings) as destination,
        running(site, port, "tinyproxy", "-d", "-c", path),
    ):
        yield Server(port, destination.port)
