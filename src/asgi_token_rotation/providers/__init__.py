"""Where users sign in. Providers are data."""

from __future__ import annotations

from .base import Provider as Provider
from .credentials import Credentials as Credentials
from .oauth2 import OAuth2 as OAuth2
