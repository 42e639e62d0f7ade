import os

from auth import rotation
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from asgi_token_rotation import TokenRotationMiddleware, get_session

settings.configure(SECRET_KEY=os.environ["AUTH_SECRET"], ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)


async def me(request: HttpRequest) -> JsonResponse:
    return JsonResponse(get_session(request))


class Socket(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send_json(get_session(self))
        await self.close()


urlpatterns = [path("me", me)]
sockets = URLRouter([path("socket", Socket.as_asgi())])
site = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": sockets})
app = TokenRotationMiddleware(site, rotation=rotation)

# For the matrix:


async def fail(request: HttpRequest) -> JsonResponse:
    raise LookupError("the handler's own failure")


urlpatterns.append(path("fail", fail))
