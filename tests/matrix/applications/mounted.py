import importlib
import os

from starlette.applications import Starlette
from starlette.routing import Mount

framework = importlib.import_module(f"matrix.applications.{os.environ['MATRIX_APPLICATION']}")
app = Starlette(routes=[Mount("/shop", framework.app)])
