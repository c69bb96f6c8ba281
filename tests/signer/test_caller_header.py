"""Whatever stands in an Authorization header, it is proof or refused, never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.signer.answers import UnauthenticatedError
from taskward.signer.caller import payload_hash, signed_call

ATTRIBUTES = st.lists(
    st.tuples(st.sampled_from(["id", "ts", "nonce", "hash", "mac", "ext", "TS"]), st.text(max_size=12)), max_size=8
)


@given(ATTRIBUTES)
def test_a_header_of_arbitrary_attributes_is_refused(attributes: list[tuple[str, str]]) -> None:
    header = "Hawk " + ", ".join(f'{name}="{value}"' for name, value in attributes)
    with pytest.raises(UnauthenticatedError):
        signed_call(header, b"{}", now_s=1_000_000)


@given(st.text())
def test_arbitrary_text_is_refused(header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        signed_call(header, b"{}", now_s=1_000_000)


def test_a_fresh_header_with_the_body_s_hash_goes_on_to_the_auth_service() -> None:
    header = f'Hawk id="x", ts="1000000", hash="{payload_hash(b"{}").decode()}", mac="unknown here"'
    call = signed_call(header, b"{}", now_s=1_000_060)
    assert (call.method, call.host, call.port, call.resource) == ("post", "signer", 80, "/v1/certify")


def test_digits_of_other_scripts_are_no_time_stamp() -> None:
    with pytest.raises(UnauthenticatedError):
        signed_call('Hawk ts="²", hash=""', b"{}", now_s=0)
