"""The keys of an issuer over time."""

import asyncio

import pytest

from gateway.errors import KeysUnavailableError, UnauthenticatedError
from tests.tokens_of_issuers import TIMES, World


async def accepted(world: World, token: str) -> bool:
    try:
        await world.verifier.authenticate(token)
    except UnauthenticatedError as error:
        if error.check != "jwt_key":
            raise
        return False
    return True


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    """Rotation under way: a token by the new key asks the set anew, and one by the old, though remembered, is out."""
    world = World.of()
    old = world.token()
    assert await accepted(world, old)
    world.add("next")
    world.source.entries.pop(0)
    assert await accepted(world, old)
    world.clock.pass_(TIMES.again_seconds)
    assert await accepted(world, world.token("next"))
    assert not await accepted(world, old)
    assert world.source.asked == 2


async def test_unknown_keys_do_not_make_the_gateway_ask() -> None:
    """A thousand names that nobody knows are one question in `again_seconds`, side by side or one after another."""
    world = World.of()
    world.add("known")
    unknown = [world.token("known", header={"kid": f"made-up-{n}"}) for n in range(50)]
    assert await accepted(world, world.token("known"))
    await asyncio.gather(*(accepted(world, token) for token in unknown))
    assert world.source.asked == 1
    world.clock.pass_(TIMES.again_seconds)
    assert not any(await asyncio.gather(*(accepted(world, token) for token in unknown)))
    assert world.source.asked == 2


async def test_keys_are_asked_for_anew_beside_the_calls() -> None:
    """After `refresh_seconds`, also where every token is one that is remembered: a key that was taken out is out."""
    world = World.of()
    token = world.token()
    assert await accepted(world, token)
    world.add("next")
    world.source.entries.pop(0)
    world.clock.pass_(TIMES.refresh_seconds + 1)
    assert await accepted(world, token)  # this call did not wait
    await world.issuer.keys.ask()
    assert not await accepted(world, token)


async def test_a_source_that_fails_is_lived_with_for_a_while() -> None:
    """Old keys serve until they are too old; then nobody can say who calls, until the source answers again."""
    world = World.of()
    assert await accepted(world, world.token())
    world.source.fails = True
    world.clock.pass_(TIMES.stale_seconds_max)
    assert await accepted(world, world.token())
    await world.issuer.keys.ask()
    world.clock.pass_(1)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            await world.verifier.authenticate(world.token())
    asked = world.source.asked
    world.source.fails = False
    world.clock.pass_(TIMES.again_seconds)
    assert await accepted(world, world.token())
    assert world.source.asked == asked + 1


async def test_a_set_that_is_none_leaves_what_was() -> None:
    """Whoever answers nonsense rotates nothing away; the complaint is logged once."""
    world = World.of()
    assert await accepted(world, world.token())
    world.source.entries = [{"kty": "oct", "k": "AAAA"}]
    world.clock.pass_(TIMES.again_seconds)
    await world.issuer.keys.ask()
    assert await accepted(world, world.token("k-ES256", sub="bob"))


async def test_a_caller_who_hangs_up_takes_the_answer_from_nobody() -> None:
    """The question goes on for the others who wait for it."""
    world = World.of()
    gate = asyncio.Event()
    read = world.source.read

    async def slow() -> bytes:
        await gate.wait()
        return await read()

    world.source.read = slow  # type: ignore[method-assign]
    first, second = (asyncio.create_task(world.verifier.authenticate(world.token())) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert (await second).subject == "ann"
    assert first.cancelled()
    assert world.source.asked == 1


async def test_few_wait_for_a_source_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends tokens of unknown keys is nobody yet, and must not fill the gateway with calls that wait."""
    monkeypatch.setattr("gateway.authn.issuer_keys.WAITING_MAX", 3)
    world = World.of()
    world.add("known")
    gate = asyncio.Event()
    read = world.source.read

    async def slow() -> bytes:
        await gate.wait()
        return await read()

    world.source.read = slow  # type: ignore[method-assign]
    token = world.token("known", header={"kid": "made up"})
    calls = [asyncio.create_task(world.verifier.authenticate(token)) for _ in range(10)]
    ended, _ = await asyncio.wait(calls, timeout=0.1)
    assert [type(call.exception()) for call in ended] == [KeysUnavailableError] * 7
    gate.set()
    assert {type(each) for each in await asyncio.gather(*calls[:3], return_exceptions=True)} == {UnauthenticatedError}
    assert await accepted(world, world.token("known"))


@pytest.mark.parametrize(("meanwhile", "check"), [("expired", "jwt_expired"), ("removed", "jwt_issuer")])
async def test_what_counts_is_how_things_stand_once_the_keys_have_come(meanwhile: str, check: str) -> None:
    """A token that has expired while its caller waited is out, and so is one whose issuer was taken out."""
    world = World.of()
    token = world.token()
    read = world.source.read

    async def slow() -> bytes:
        if meanwhile == "expired":
            world.clock.pass_(700)
        else:
            world.verifier.adopt([])
        return await read()

    world.source.read = slow  # type: ignore[method-assign]
    with pytest.raises(UnauthenticatedError) as caught:
        await world.verifier.authenticate(token)
    assert caught.value.check == check


async def test_what_is_closed_asks_nobody() -> None:
    """A gateway that stops begins no question."""
    world = World.of()
    await world.verifier.close()
    with pytest.raises(KeysUnavailableError):
        await world.verifier.authenticate(world.token())
    assert world.source.asked == 0
