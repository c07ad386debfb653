"""Nothing in the contracts stands alone: every topic, message, state, text and principal has its other half."""

import re
from typing import Any

import pytest
from chikaya_contracts import asyncapi, json_schema, messages, topics
from chikaya_contracts.envelope import Message
from chikaya_contracts.golden import Example, examples
from chikaya_contracts.messages.lifecycle import CaseEvent
from chikaya_contracts.schemas import REPOSITORY
from chikaya_contracts.states import State, StateName, Transition, allowed, diagram, states, transitions
from chikaya_contracts.topics import DEAD_LETTERS, INBOX, OUTBOX, SERVICES, Topic, expand, table

EXAMPLES = list(examples())
LIFECYCLE = {model.short_name(): model for model in messages.ALL.values() if issubclass(model, CaseEvent)}
PRINCIPALS = {*SERVICES, "operator", "{administration}", "{service}", "channel-{channel}"}
PERSONAL = {"text", "contact", "name", "email", "phone"}
ALL_MODELS = pytest.mark.parametrize("model", messages.ALL.values(), ids=messages.ALL)
ALL_TOPICS = pytest.mark.parametrize("topic", table(), ids=lambda topic: topic.name)
ALL_STATES = pytest.mark.parametrize(("name", "state"), states().items(), ids=states())
ALL_ROWS = pytest.mark.parametrize("row", transitions(), ids=lambda row: f"{row.event}-{'-'.join(row.sources)}")


def shown(model: type[Message]) -> list[Example]:
    return [one for one in EXAMPLES if one.type == model.TYPE]


# Messages


@ALL_MODELS
def test_a_message_has_an_example_and_both_schemas(model: type[Message]) -> None:
    assert shown(model)
    for side in ("consumer", "producer"):
        assert (REPOSITORY / "contracts" / "schemas" / side / f"{model.TYPE}.json").is_file()


@ALL_MODELS
def test_a_message_is_shown_with_each_optional_field_and_without_any(model: type[Message]) -> None:
    inherited = CaseEvent.model_fields if issubclass(model, CaseEvent) else {}
    optional = {name for name, field in model.model_fields.items() if not field.is_required() and name not in inherited}
    used = [optional & one.value.keys() for one in shown(model)]
    assert set().union(*used) == optional
    assert set() in used or model.__name__ == "CaseQuestionAsked", "no minimal example"


def test_a_case_event_is_shown_with_and_without_a_holder() -> None:
    held = {"administration" in one.value for one in EXAMPLES if one.type.startswith("ma.chikaya.case.")}
    assert held == {True, False}


def test_an_example_is_of_a_known_type_on_its_topic_with_its_key(example: Example) -> None:
    model = messages.ALL[example.type]
    assert re.fullmatch(model.TOPIC.pattern, example.topic)
    assert example.headers["ce_type"] == example.type
    assert example.headers["ce_subject"] == example.key == model.model_validate(example.value).key


def test_an_example_holds_no_reachable_address(example: Example) -> None:
    text = str(example.value)
    assert set(re.findall(r"[\w.]+@([\w.]+)", text)) <= {"example.org", "chikaya.local"}
    assert all(number.startswith("+212600000") for number in re.findall(r"\+212\d+", text))


@ALL_MODELS
def test_a_type_is_named_in_the_way_of_all(model: type[Message]) -> None:
    assert re.fullmatch(r"ma\.chikaya(\.[a-z]+(-[a-z]+)*){2}\.v[1-9]", model.TYPE)
    assert (model.__doc__ or "").strip()


def test_no_two_messages_have_one_type_or_one_name() -> None:
    models = list(messages.ALL.values())
    assert len({model.__name__ for model in models}) == len({model.TYPE for model in models}) == len(models)


def test_every_concrete_message_is_registered() -> None:
    def below(model: type[Message]) -> set[type[Message]]:
        return {model}.union(*map(below, model.__subclasses__()))

    written = {
        model
        for model in below(Message)
        if "TYPE" in vars(model) and model.__module__.startswith("chikaya_contracts.messages")
    }
    assert written == set(messages.ALL.values())


@ALL_MODELS
def test_a_message_is_owned_by_a_writer_of_its_topic(model: type[Message]) -> None:
    assert model.OWNER in {asyncapi.principal(writer) for writer in model.TOPIC.writers}
    assert model.TOPIC in table()


# Topics


@ALL_TOPICS
def test_a_topic_has_messages_an_owner_and_a_reader(topic: Topic) -> None:
    assert messages.on(topic) or topic is DEAD_LETTERS
    assert topic.owner in topic.writers
    assert topic.readers
    assert topic.what
    assert topic.key


@ALL_TOPICS
def test_every_writer_of_a_topic_has_a_message_to_write(topic: Topic) -> None:
    if topic is not DEAD_LETTERS:
        owners = {model.OWNER for model in messages.on(topic).values()}
        assert {asyncapi.principal(writer) for writer in topic.writers} == owners


@ALL_TOPICS
def test_principals_are_known(topic: Topic) -> None:
    assert {*topic.writers, *topic.readers} <= PRINCIPALS
    assert {asyncapi.principal(who) for who in (*topic.writers, *topic.readers)} <= set(asyncapi.PRINCIPALS)


@ALL_TOPICS
def test_a_topic_of_the_table_has_a_name_in_code(topic: Topic) -> None:
    assert [name for name, value in vars(topics).items() if value is topic and name.isupper()]


@ALL_TOPICS
def test_a_topic_that_holds_personal_data_expires(topic: Topic) -> None:
    if topic.personal_data:
        assert topic.retention_days is not None
        assert not topic.compacted


@ALL_TOPICS
def test_a_family_matches_its_members_and_no_others(topic: Topic) -> None:
    assert re.fullmatch(r"[a-z{}.-]+\.v[1-9]", topic.name)
    member = topic.named("commune-06-141-01-0") if topic.placeholder else topic
    assert "{" not in "".join((member.name, *member.writers, *member.readers))
    assert [row for row in table() if re.match(row.pattern, member.name)] == [topic]


def test_expanding_gives_each_topic_once() -> None:
    names = [topic.name for topic in expand(["cnss", "onee", "commune-06-141-01-0"], ["kiosk", "triage"])]
    assert len(names) == len(set(names)) == 8 + 2 * 2 + 2 * 4 + len(SERVICES) - 1
    assert {"administration.desk.inbox.v1", "administration.cnss.outbox.v1", "channel.kiosk.receipts.v1"} <= set(names)
    assert not [name for name in names if "{" in name]


def fields(schema: Any) -> set[str]:
    """The names of all fields in a schema, at every level."""
    if isinstance(schema, dict):
        own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
        return own.union(*map(fields, schema.values()))
    return set().union(*map(fields, schema)) if isinstance(schema, list) else set()


@ALL_TOPICS
def test_the_table_and_the_models_agree_on_personal_data(topic: Topic) -> None:
    personal = {type_: fields(json_schema.producer(model)) & PERSONAL for type_, model in messages.on(topic).items()}
    if topic.personal_data:
        assert any(personal.values()) or topic is DEAD_LETTERS
    else:
        assert not any(personal.values()), personal


# States


@ALL_STATES
def test_a_state_is_left_or_final(name: str, state: State) -> None:
    left = any(name in row.sources and row.to not in ("same", name) for row in transitions())
    assert left or (not state.open and f"{name} --> [*]" in diagram())


def test_every_state_is_reached_from_the_start() -> None:
    reached, known = {"start"}, set[str]()
    while reached != known:
        known = set(reached)
        reached |= {row.to for row in transitions() if row.to != "same" and known & set(row.sources)}
    assert reached - {"start"} == set(states())


def test_the_states_of_the_table_are_those_of_the_messages() -> None:
    assert set(StateName.__args__) == set(states())


@ALL_STATES
def test_a_state_is_told_in_both_languages(name: str, state: State) -> None:
    for text in (state.fr, state.told_fr):
        assert text.strip()
        assert not re.search(r"[\u0600-\u06ff]", text)
    for text in (state.ar, state.told_ar):
        assert re.search(r"[\u0600-\u06ff]", text)
        assert not re.search(r"[A-Za-z]", text)


@ALL_ROWS
def test_a_transition_names_states_and_events_that_exist(row: Transition) -> None:
    assert set(row.sources) <= {*states(), "start"}
    assert row.to in {*states(), "same"}
    assert row.event in LIFECYCLE
    assert row.by


def test_every_lifecycle_message_is_in_the_table() -> None:
    assert set(LIFECYCLE) == {row.event for row in transitions()}


def test_one_event_leads_from_one_state_to_one_state_unless_the_table_says_when() -> None:
    for event in LIFECYCLE:
        for state in states():
            rows = allowed(event, state)
            assert len(rows) <= 1 or all(row.when for row in rows)


def test_an_examples_state_is_one_that_its_event_leads_to() -> None:
    for one in EXAMPLES:
        if one.type in {model.TYPE for model in LIFECYCLE.values()}:
            event = messages.ALL[one.type].short_name()
            rows = [row for row in transitions() if row.event == event]
            ends = {row.to for row in rows if row.to != "same"}
            ends |= {source for row in rows if row.to == "same" for source in row.sources}
            assert one.value["state"] in ends, f"{one.type}/{one.name}"


def test_the_diagram_draws_every_change_of_state() -> None:
    drawn = diagram().splitlines()
    for row in transitions():
        for source in row.sources:
            line = f"    {'[*]' if source == 'start' else source} --> {row.to}: {row.event}"
            assert (line in drawn) == (row.to != "same")


def test_a_member_of_a_family_bears_the_familys_messages_and_no_others() -> None:
    assert messages.on(INBOX.named("cnss")) == messages.on(INBOX) != {}
    assert messages.on(INBOX.named("cnss")).keys().isdisjoint(messages.on(OUTBOX.named("cnss")))
