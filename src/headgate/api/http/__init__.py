"""The HTTP door: `/api/v1`, its routes as one typed table, and the OpenAPI document made of the same types."""

from headgate.api.http.application import HttpApplication
from headgate.api.http.server import HttpServer

__all__ = ["HttpApplication", "HttpServer"]
