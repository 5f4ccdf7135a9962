"""The HTTP API of Zart: start executions, send events, read results."""

from zart_api.app import create_app
from zart_api.auth import Authenticate
from zart_api.serve import serve, serve_async

__all__ = ["Authenticate", "create_app", "serve", "serve_async"]
