"""The server keeps what its OpenAPI document promises, whatever it is asked."""

import pytest

HOW = {"max_examples": 15, "deadline": None, "database": None}


@pytest.fixture(scope="module")
def document(server):
    schemathesis = pytest.importorskip("schemathesis")  # here, as every process of the tests collects this file
    from schemathesis.checks import load_all_checks

    load_all_checks()
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    "path, method, mode",
    [
        ("/api/predict", "POST", "POSITIVE"),
        ("/api/predict", "POST", "NEGATIVE"),
        ("/api/info", "GET", "POSITIVE"),  # nothing that is not allowed can be sent there
        ("/health", "GET", "POSITIVE"),
    ],
)
def test_answers_are_those_of_the_document(document, path, method, mode):
    import hypothesis
    import schemathesis
    from schemathesis.checks import CHECKS

    operation = document[path][method]
    # Random bytes are as good a file as any to the document, but no video.
    unfit = [CHECKS.get_one("positive_data_acceptance")]

    @hypothesis.seed(1)
    @hypothesis.settings(**HOW, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def ask(case):
        case.call_and_validate(excluded_checks=unfit)

    ask()
