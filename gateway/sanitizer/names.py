"""What a client calls things: the names of a mission stand in logs, terminals and policies, so people must see them."""

from collections.abc import Iterator

from engine.errors import Violation
from engine.mission import Mission
from gateway.sanitizer.sanitize import violation
from gateway.sanitizer.schema import field_path
from gateway.sanitizer.text import check_text


def check_names(mission: Mission) -> Iterator[Violation]:
    """Yield what is wrong with the name, description, labels and step names of `mission`, each of them `text`.

    Ids, profiles, label keys, names of variables and of secrets and concurrency keys are ASCII by `engine.loader`, and
    need no more. Items and what conditions compare with are data: they are checked where a step uses them.
    """
    texts = [("name", mission.name), ("description", mission.description)]
    texts += ((field_path("labels", (key,)), value) for key, value in mission.labels.items())
    texts += ((f"steps[{i}].name", step.name) for i, step in enumerate(mission.steps))
    for field, value in texts:
        if finding := check_text(value):
            yield violation("text", finding, field)
