"""Where users sign in. Providers are data."""

from __future__ import annotations

from .base import Provider as Provider
from .credentials import Credentials as Credentials
from .oauth2 import OAuth2 as OAuth2
from .oidc import OIDC as OIDC
from .ready_made import auth0 as auth0
from .ready_made import cognito as cognito
from .ready_made import entra_id as entra_id
from .ready_made import github as github
from .ready_made import gitlab as gitlab
from .ready_made import google as google
from .ready_made import keycloak as keycloak
from .ready_made import okta as okta
from .ready_made import ory as ory
from .ready_made import zitadel as zitadel
