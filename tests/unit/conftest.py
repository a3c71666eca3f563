"""Ray as a sweep or a study has it, though modules of tests import it themselves."""

import pytest

# Ray reads them when it is imported, once for all sweeps of this process; others that it starts are not to have them.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("RAY_AUTH_MODE", "token")
    patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray as ray
