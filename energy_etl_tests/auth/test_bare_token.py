"""A token that is sent as it is."""

import httpx
import pytest
from pydantic import SecretStr

from energy_etl.auth import BareTokenAuth
from energy_etl.errors import ConfigurationError


def test_token_is_sent_without_a_scheme() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/")
    signed = next(BareTokenAuth(SecretStr("abc.def"), setting="acme.token").auth_flow(request))
    assert signed.headers["Authorization"] == "abc.def"


@pytest.mark.parametrize("token", ["", "a\nb", " abc", "geheim\u00df"])
def test_token_that_no_header_can_carry_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.token is empty or holds") as raised:
        BareTokenAuth(SecretStr(token), setting="acme.token")
    assert not token or token not in str(raised.value)
