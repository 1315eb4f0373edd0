"""Security levels: what each opens, who may have it, and that no way leads around it."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Violation
from gateway.errors import PolicyInvalidError, SanitizationError
from gateway.policy.decision import Decision
from gateway.security_levels import LEVELS, SecurityLevel, SecurityLevels, security_levels
from tests.virtual_time import run
from tests.worlds import BUNDLE, World, mission, step

EVERY = (*LEVELS,)
EFFECTS = ("file.read", "file.write", "http.request", "timer.sleep", "approval.request", "mission.run", "command.run")


def level(levels: SecurityLevels, *asked: Any, **options: Any) -> SecurityLevel:
    found = levels.of(*asked, **options)
    assert isinstance(found, SecurityLevel)
    return found


class TestLevels:
    def test_a_stricter_level_opens_no_more_than_a_wider_one(self) -> None:
        """Whatever a level opens, the next one opens too: of effects and of profiles."""
        levels = security_levels({}, EVERY)
        for stricter, wider in pairwise(LEVELS):
            less, more = level(levels, stricter), level(levels, wider)
            assert all(more.opens_effect(op) for op in EFFECTS if less.opens_effect(op))
            assert all(more.opens_profile(name) for name in ("fast", "wasm", "semantic") if less.opens_profile(name))

    def test_the_shipped_levels_differ_where_they_should(self) -> None:
        """Strict writes and sends nothing; balanced runs no commands; relaxed runs them; none knows no limits."""
        levels = security_levels({}, EVERY)
        opened = {name: {op for op in EFFECTS if level(levels, name).opens_effect(op)} for name in LEVELS}
        assert opened["strict"] == {"file.read", "timer.sleep", "approval.request"}
        assert opened["balanced"] == set(EFFECTS) - {"command.run"}
        assert opened["relaxed"] == set(EFFECTS)
        assert level(levels, "none").opens_effect("site.anything")
        assert not level(levels, "relaxed").opens_effect("site.anything")

    def test_none_exists_only_where_the_configuration_names_it(self) -> None:
        """Without its name in the configuration, a mission that asks for no level at all is refused."""
        refused = security_levels({}).of("none")
        assert isinstance(refused, Violation)
        assert (refused.code, refused.field) == ("security.level_closed", "config.security_level")
        assert "configuration" in refused.message
        assert level(security_levels({}, EVERY), "none").name == "none"

    def test_a_word_that_is_no_level_is_refused(self) -> None:
        """An unknown word is never taken for the default."""
        refused = security_levels({}).of("paranoid")
        assert isinstance(refused, Violation)
        assert refused.code == "security.level_closed"

    @given(st.sampled_from([None, *LEVELS]), st.sampled_from(LEVELS), st.sampled_from(LEVELS[:3]))
    def test_a_part_never_has_a_wider_level_than_the_whole(self, asked: Any, within: str, default: str) -> None:
        """Asked for or not, and whatever the default is: the stricter one, or a refusal."""
        levels = security_levels({"security": {"default_level": default}}, EVERY)
        found = levels.of(asked, within=within)
        if isinstance(found, Violation):
            assert found.code == "security.level_widened"
            assert asked is not None
        else:
            assert LEVELS.index(found.name) <= LEVELS.index(within)

    @pytest.mark.parametrize(
        ("security", "says"),
        [
            ({"level": "strict"}, "no other"),
            ({"levels": {"paranoid": {"profiles": [], "effects": []}}}, "no other"),
            ({"levels": {"none": {"profiles": [], "effects": []}}}, "no other"),
            ({"levels": {"strict": {"profiles": ["fast"]}}}, "exactly"),
            ({"levels": {"strict": {"profiles": ["fast"], "effects": "file.read"}}}, "list"),
            ({"levels": {"strict": {"profiles": ["fast"], "effects": [7]}}}, "names"),
            ({"levels": {"strict": {"profiles": ["*", "fast"], "effects": []}}}, "alone"),
            ({"levels": {"strict": {"profiles": ["*"], "effects": ["site.send"]}}}, "levels.strict.effects opens"),
            ({"levels": {"balanced": {"profiles": ["fast"], "effects": ["*"]}}}, "which levels.balanced does not"),
            ({"default_level": "none"}, "default_level"),
            ({"default_level": ["strict"]}, "default_level"),
            ([], "fields"),
        ],
    )
    def test_data_that_is_not_understood_is_refused(self, security: Any, says: str) -> None:
        """A level that lies about its name, or a word nobody knows, stops the start."""
        with pytest.raises(PolicyInvalidError, match="security: ") as refused:
            security_levels({"security": security})
        assert refused.value.code == "policy.security_invalid"
        assert says in refused.value.message


CLOSING = security_levels(
    {
        "security": {
            "levels": {
                "strict": {"profiles": ["fast"], "effects": []},
                "balanced": {"profiles": ["fast", "semantic", "wasm"], "effects": ["file.read", "mission.run"]},
            }
        }
    }
)


class TestPipeline:
    def codes(self, *steps: Any, config: Any) -> list[tuple[str, str]]:
        """Return what stage 1 refuses, with its places."""
        world = World(levels=CLOSING)
        with pytest.raises(SanitizationError) as refused:
            world.admission.sanitize(orjson.dumps(mission(*steps, config=config)))
        return [(violation.code, violation.field) for violation in refused.value.violations]

    def test_what_a_level_closes_is_refused_at_admission(self) -> None:
        """Each step's kind and profile is named with its place, before policy is asked."""
        acting = step("b", kind="acting", profile="fast")
        assert self.codes(step("a", profile="fast"), acting, config={"security_level": "strict"}) == [
            ("security.effect_closed", "steps[1].step_type"),
            ("security.effect_closed", "steps[1].step_type"),
            ("security.effect_closed", "steps[1].step_type"),
        ]
        assert self.codes(step("a", profile="semantic"), config={"security_level": "strict"}) == [
            ("security.profile_closed", "steps[0].profile")
        ]

    def test_a_level_that_is_not_to_be_had_is_refused_with_its_place(self) -> None:
        """`none` is not among the levels of this gateway."""
        assert self.codes(step("a"), config={"security_level": "none"}) == [
            ("security.level_closed", "config.security_level")
        ]

    def test_policy_cannot_grant_a_profile_that_the_level_closes(self) -> None:
        """A decision that names another profile is held to the level as well, and the mission is halted."""
        world = World(levels=CLOSING)
        world.policy.answers["step"] = Decision(allow=True, bundle=BUNDLE, profile="observational")
        view = run(world.run(mission(step("a"))))
        assert view.result["step_results"]["a"]["error"]["code"] == "security.profile_closed"
        assert world.sandbox.runs == []
        world.laws_hold()

    def test_policy_is_told_the_level(self) -> None:
        """All documents of a mission name the level that it has, asked for or not."""
        world = World(levels=CLOSING)
        read = {"op": "file.read", "args": {"path": "a.txt"}}
        run(world.run(mission(step("a", kind="reading", batches=[[read]]))))
        assert {point: asked["mission"]["security_level"] for point, asked in world.policy.asked} == {
            "mission": "balanced",
            "step": "balanced",
            "effect": "balanced",
        }

    @pytest.mark.parametrize(
        ("whole", "part", "has"),
        [
            ("relaxed", None, "balanced"),  # the default, which is stricter
            ("relaxed", "relaxed", "relaxed"),
            ("relaxed", "strict", "strict"),
            ("balanced", "relaxed", None),
            ("balanced", None, "balanced"),
        ],
    )
    def test_a_sub_mission_has_the_level_of_the_whole_or_a_stricter_one(
        self, whole: str, part: str | None, has: str | None
    ) -> None:
        """What the sub-mission asks for beyond it is refused, and halts the whole."""
        world = World(levels=CLOSING)
        config = {} if part is None else {"security_level": part}
        inner = mission(step("in", profile="fast"), config=config)
        asks = [{"op": "mission.run", "args": {"mission": inner}}]
        outer = mission(step("out", kind="nesting", batches=[asks]), config={"security_level": whole})
        view = run(world.run(outer))
        levels = [
            asked["mission"]["security_level"]
            for point, asked in world.policy.asked
            if point == "step" and asked["step"]["id"] == "in"
        ]
        assert levels == ([] if has is None else [has])
        [result] = view.result["step_results"].values()
        assert result["status"] == ("Failed" if has is None else "Completed")
        if has is None:
            assert "security.level_widened" in result["error"]["message"]
