"""How hypothesis runs here."""

from hypothesis import settings

settings.register_profile("no clock", deadline=None)  # how long an example takes proves nothing
settings.load_profile("no clock")
