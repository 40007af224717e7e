"""Problem details: catalogue, documents and headers."""

from __future__ import annotations

import pickle

import orjson
import pytest

from shared.core.problems import CODES, FieldError, Problem, render, to_document

CONTRACT = {
    400: "malformed_request missing_idempotency_key",
    401: "missing_token invalid_token missing_signature invalid_signature signature_replayed "
    "timestamp_out_of_window unknown_key revoked_key",
    403: "insufficient_scope tenant_mismatch tenant_suspended",
    404: "not_found",
    405: "method_not_allowed",
    409: "illegal_state already_exists request_in_progress",
    413: "payload_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "validation_failed user_not_active idempotency_key_reused unknown_reference currency_mismatch "
    "account_closed amount_exceeds_authorized amount_exceeds_refundable",
    429: "rate_limited",
    431: "head_too_large",
    500: "internal_error",
    503: "dependency_unavailable",
}


def test_the_catalogue_is_the_contract() -> None:
    """Every code of the contract exists with its status, and no other code does."""
    expected = {code: status for status, codes in CONTRACT.items() for code in codes.split()}
    assert expected == {code: kind.status for code, kind in CODES.items()}
    assert all(code == kind.code for code, kind in CODES.items())


def test_an_unknown_code_is_an_error_of_the_program() -> None:
    """A code that is not in the catalogue is refused when the problem is created."""
    with pytest.raises(KeyError):
        Problem("no_such_code", "x")


def test_the_document_has_every_member() -> None:
    """The document of a problem has the members of RFC 9457 and Lastro's, with the type under the base URL."""
    problem = Problem.at("validation_failed", "/amount/value", "An integer is needed.")
    assert to_document(problem, "http://localhost:8080/", "/v1/payments", "req_1") == {
        "type": "http://localhost:8080/problems/validation_failed",
        "title": "A field is not valid",
        "status": 422,
        "detail": "An integer is needed.",
        "instance": "/v1/payments",
        "code": "validation_failed",
        "request_id": "req_1",
        "errors": [{"detail": "An integer is needed.", "pointer": "/amount/value"}],
    }


def test_a_parameter_error_names_the_parameter() -> None:
    """An error in the query has the name of its parameter and no pointer."""
    problem = Problem.parameter("malformed_request", "limit", "At most 100.")
    assert problem.errors == (FieldError("At most 100.", parameter="limit"),)
    assert to_document(problem, "", "", "")["errors"] == [{"detail": "At most 100.", "parameter": "limit"}]


def test_a_problem_without_detail_gets_the_default_detail() -> None:
    """A problem without a detail gets the catalogue's text as its detail."""
    assert Problem("not_found").detail == CODES["not_found"].cause


def test_rendering_never_fails() -> None:
    """A lone surrogate in a repeated text does not make the rendering fail."""
    body = render(Problem("not_found", "no \ud800 here"), "http://x", "/\udcff", "r")
    assert orjson.loads(body)["detail"] == "no ? here"


@pytest.mark.parametrize("code", ["rate_limited", "dependency_unavailable", "request_in_progress"])
def test_retry_after_is_always_there(code: str) -> None:
    """A problem that may be retried has Retry-After; a value of the caller replaces the default."""
    assert int(Problem(code).headers["Retry-After"]) >= 1
    assert Problem(code, headers={"Retry-After": "7"}).headers["Retry-After"] == "7"


def test_every_401_carries_a_challenge() -> None:
    """Every 401 has WWW-Authenticate (RFC 9110 §15.5.2); for a missing token it has only the scheme."""
    challenges = {c: Problem(c).headers["WWW-Authenticate"] for c, kind in CODES.items() if kind.status == 401}
    assert challenges["missing_token"] == 'Bearer realm="lastro"'
    assert challenges["invalid_token"].startswith('Bearer realm="lastro", error="invalid_token"')
    assert not challenges["invalid_signature"].startswith("Bearer")


def test_a_challenge_cannot_be_split() -> None:
    """Quotes, line breaks and non-ASCII letters of a detail are removed from the header."""
    challenge = Problem("invalid_token", 'a"b\\c\r\nX: y é').headers["WWW-Authenticate"]
    assert challenge.endswith("error_description=\"a'b'c''X: y '\"")


def test_a_problem_survives_pickling() -> None:
    """A problem is pickled and unpickled without loss."""
    problem = Problem.at("illegal_state", "/status", "Captured already.")
    copy = pickle.loads(pickle.dumps(problem))
    assert (copy.code, copy.detail, copy.errors, str(copy)) == (
        problem.code,
        problem.detail,
        problem.errors,
        "illegal_state: Captured already.",
    )
