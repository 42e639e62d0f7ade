"""The rules that ASGI servers and frameworks impose, and the tests that hold us to them.

A test's docstring begins with ``ASGI R7:``, or ``ASGI R24, R29:``. Without the word, R1 to R10 are incidents (races), and
what is above R10 is one of these rules.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent.parent


class Rule(NamedTuple):
    """What it says, and the test that shows it best."""

    says: str
    shown_by: str


RULES = {
    1: Rule(
        "The application comes first, positional or as app=; options have names.",
        "frameworks/test_rules_shape.py::test_the_application_comes_first_by_place_or_by_name",
    ),
    2: Rule(
        "The middleware is a coroutine function of scope, receive and send, and answers None.",
        "frameworks/test_rules_shape.py::test_it_is_called_by_name",
    ),
    3: Rule(
        "Many cheap middlewares, as Litestar makes them for each route, share one runtime.",
        "integrations/test_litestar.py::test_a_sign_in_through_the_plugin_is_refreshed_at_any_route",
    ),
    4: Rule(
        "A middleware inside of another passes through.",
        "frameworks/test_in_process.py::test_two_middlewares_do_the_work_of_one",
    ),
    5: Rule(
        "The scope is changed in place; what is there under our key is foreign and stays with its owner.",
        "frameworks/test_in_process.py::test_a_state_that_all_requests_share_mixes_nobody_up",
    ),
    6: Rule(
        "The session at hand is the authority, not what stands in the scope, which may be copied deeply.",
        "frameworks/test_rules_shape.py::test_a_copied_scope_is_one_session",
    ),
    7: Rule(
        "The key can be changed; the framework's own scope['session'] is left alone.",
        "frameworks/test_rules_shape.py::test_the_session_of_the_framework_is_another_one",
    ),
    8: Rule(
        "Messages are copied, never changed in place.",
        "frameworks/test_in_process.py::test_the_messages_of_the_application_are_not_changed",
    ),
    9: Rule(
        "The cookie is on a response's first message, whatever its kind; others pass untouched.",
        "frameworks/test_rules_messages.py::test_the_cookie_is_on_the_first_message_and_all_others_pass",
    ),
    10: Rule(
        "All cookie headers are joined by semicolons.",
        "frameworks/test_in_process.py::test_the_cookie_headers_of_http_2_are_joined",
    ),
    11: Rule(
        "Names of headers are known in any case, and no value can inject.",
        "frameworks/test_rules_messages.py::test_names_of_headers_come_in_any_case",
    ),
    12: Rule(
        "Two chunks are warned of.",
        "frameworks/test_rules_messages.py::test_a_second_chunk_is_warned_of",
    ),
    13: Rule(
        "What has our cookie is for no cache; what a session was read for, for no shared one.",
        "frameworks/test_rules_messages.py::test_a_cookie_is_for_no_cache",
    ),
    14: Rule(
        "Changes after the response has started raise.",
        "frameworks/test_rules_messages.py::test_changes_after_the_start_raise",
    ),
    15: Rule(
        "A refresh is a task of its own that stores its result.",
        "frameworks/test_rules_refresh.py::test_a_natively_cancelled_request_cancels_no_refresh",
    ),
    16: Rule(
        "Who comes back with the old cookie gets the new one.",
        "frameworks/test_rules_refresh.py::test_an_answer_that_was_not_delivered_is_given_again",
    ),
    17: Rule(
        "Workers meet in a store, and a refusal does not clear the cookie.",
        "frameworks/test_rules_refresh.py::test_workers_meet_in_the_store",
    ),
    18: Rule(
        "A shutdown waits for refreshes under way, but not for ever.",
        "frameworks/test_rules_refresh.py::test_a_shutdown_waits_for_a_refresh_whose_request_was_cancelled",
    ),
    19: Rule(
        "A WebSocket's cookie may not arrive.",
        "frameworks/test_rules_refresh.py::test_a_socket_whose_cookie_is_dropped_loses_nothing",
    ),
    20: Rule(
        "A 500 may be made outside of us; the next answer has the cookie.",
        "frameworks/test_rules_refresh.py::test_an_unhandled_exception",
    ),
    21: Rule(
        "Nothing is bound to the loop in which it was made, and several may live.",
        "frameworks/test_rules_loops.py::test_a_new_loop_for_each_request",
    ),
    22: Rule(
        "What belongs to a loop ends with it.",
        "frameworks/test_rules_loops.py::test_loops_that_have_ended_leave_nothing_open",
    ),
    23: Rule(
        "The lifespan passes through, is answered where nobody speaks it, and no failure of ours hides it.",
        "test_lifespan.py::test_an_application_that_raises_before_its_first_receive_is_answered_for",
    ),
    24: Rule(
        "Nothing depends on a lifespan.",
        "frameworks/test_in_process.py::test_it_works_where_no_lifespan_comes_and_no_state_is_given",
    ),
    25: Rule(
        "asyncio and uvloop; not trio, and the docs say so.",
        "frameworks/test_rules_loops.py::test_asyncio_only_is_said",
    ),
    26: Rule(
        "No context variables.",
        "frameworks/test_rules_loops.py::test_no_context_variable",
    ),
    27: Rule(
        "Our path is found behind a root_path, in the path or not.",
        "frameworks/test_rules_urls.py::test_the_prefix_may_be_in_the_path_or_not",
    ),
    28: Rule(
        "URLs and Secure go by public_url, not by the scheme, the host or a proxy's headers.",
        "frameworks/test_rules_urls.py::test_the_public_url_decides_on_secure",
    ),
    29: Rule(
        "Scopes are read tolerantly.",
        "frameworks/test_rules_urls.py::test_odd_scopes_are_read",
    ),
    30: Rule(
        "The types of scope and message are Any.",
        "frameworks/test_rules_shape.py::test_the_types_take_every_framework",
    ),
    31: Rule(
        "httpx2 works where httpx does, and is not imported.",
        "frameworks/test_rules_urls.py::test_failures_of_either_library",
    ),
}
# What we do not do, and why no test can show it; parts of rules, since each rule has a test for the rest.
LEFT_OUT = {
    12: "The two chunks themselves pass or fail at nginx: that is the matrix's, with a real one.",
    15: "trio.lowlevel.spawn_system_task: trio is out of scope (R25).",
    20: "That the recommended form is the wrapped one is said in the README.",
    22: "A pooled HTTP client for each loop: no provider of ours makes one, the refresh function brings its own.",
    26: "Handles in context variables: not offered, request.state works in threads everywhere.",
    30: "That all frameworks type-check is what mypy and pyright say of src and examples, in make check.",
}
CODE = re.compile(r"((?:ASGI )?)R(\d+)(?:, (?:ASGI )?R\d+)*: ")
LAST_INCIDENT = 10  # R1 to R10 are races among the incidents, too


def rules_of(docstring: str) -> set[int]:
    """The rules that a test's docstring begins with."""
    match = CODE.match(docstring)
    if match is None:
        return set()
    numbers = {int(number) for number in re.findall(r"R(\d+)", match[0])}
    return numbers if match[1] else {number for number in numbers if number > LAST_INCIDENT}


def documented_in(file: Path) -> Iterator[tuple[str, str]]:
    """Name and docstring of each test in a file."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, ast.get_docstring(node) or ""


@functools.cache
def by_rule() -> dict[int, list[str]]:
    """The tests of each rule, as pytest would be told to run them in this folder's parent."""
    found: dict[int, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        for name, docstring in documented_in(file):
            for rule in rules_of(docstring):
                found[rule].append(f"{file.relative_to(TESTS).as_posix()}::{name}")
    return dict(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"R{rule}")
def test_each_rule_has_a_test(rule: int) -> None:
    """Each of ASGI's rules has a test that begins with its code, the one in the table among them."""
    assert RULES[rule].shown_by in by_rule().get(rule, [])


def test_every_code_is_a_rule() -> None:
    """No test names a rule that does not exist, and the rules are numbered without a gap."""
    assert by_rule().keys() <= RULES.keys()
    assert list(RULES) == list(range(1, 32))
    assert LEFT_OUT.keys() <= RULES.keys()


def test_an_incidents_code_is_no_rules() -> None:
    """A docstring counts for the rules that it begins with, and not where it means an incident of that number."""
    assert rules_of("ASGI R7: x") == {7}
    assert rules_of("ASGI R24, R29: x") == {24, 29}
    assert rules_of("R23: x") == {23}
    assert rules_of("R7: x") == set()
    assert rules_of("C5, ASGI R8: x") == set()
    assert rules_of("As in ASGI R7: x") == set()
