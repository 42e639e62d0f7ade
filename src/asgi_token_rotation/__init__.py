"""Encrypted cookie sessions for ASGI that refresh their own access tokens and never lose a rotated refresh token."""

from __future__ import annotations

from ._middleware import TokenRotationMiddleware as TokenRotationMiddleware
from ._runtime import TokenRotation as TokenRotation
from ._session import get_access_token as get_access_token
from ._session import get_session as get_session
from ._session import get_token as get_token
from ._session import sign_in as sign_in
from ._session import sign_out as sign_out
from ._session import update_session as update_session
from .errors import ConfigurationError as ConfigurationError
from .errors import CookieTooLargeError as CookieTooLargeError
from .errors import CredentialsSignInError as CredentialsSignInError
from .errors import NotSignedInError as NotSignedInError
from .errors import RefreshError as RefreshError
from .errors import RefreshRejectedError as RefreshRejectedError
from .errors import RefreshUnavailableError as RefreshUnavailableError
from .errors import ResponseStartedError as ResponseStartedError
from .errors import StoreError as StoreError
from .errors import TokenRotationError as TokenRotationError
from .http import AccessTokenAuth as AccessTokenAuth
from .options import CookieOptions as CookieOptions
from .options import Lifetime as Lifetime
from .options import Pages as Pages
from .options import RefreshOptions as RefreshOptions
from .providers import Credentials as Credentials
from .providers import Provider as Provider
from .stores import Store as Store
from .types import JWT as JWT
from .types import Callbacks as Callbacks
from .types import Event as Event
from .types import Events as Events
from .types import Field as Field
from .types import JWTParams as JWTParams
from .types import RedirectParams as RedirectParams
from .types import Session as Session
from .types import SessionParams as SessionParams
from .types import SignIn as SignIn
from .types import SignInParams as SignInParams
from .types import TokenSet as TokenSet

__version__ = "0.1.0"
