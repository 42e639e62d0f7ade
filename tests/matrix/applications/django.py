import os

from auth import rotation
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from asgi_token_rotation import TokenRotationMiddleware, get_session

settings.configure(SECRET_KEY=os.environ["AUTH_SECRET"], ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)


async def me(request: HttpRequest) -> JsonResponse:
    return JsonResponse(get_session(request))


urlpatterns = [path("me", me)]
app = TokenRotationMiddleware(get_asgi_application(), rotation=rotation)

# For the matrix:


async def fail(request: HttpRequest) -> JsonResponse:
    raise LookupError("the handler's own failure")


urlpatterns.append(path("fail", fail))
