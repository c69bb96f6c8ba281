from taskward.core import keys as core_keys
from taskward.proxy import keys


def test_the_names_in_redis_are_those_of_core() -> None:
    assert keys.peer("127.77.0.1") == core_keys.peer("127.77.0.1")
    assert keys.credentials("T/0") == core_keys.credentials("T/0")
    assert keys.CREDENTIALS_CHANNEL == core_keys.CREDENTIALS_CHANNEL
