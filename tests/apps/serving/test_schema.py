"""The server's answers fit its OpenAPI document, whatever the requests."""

import pytest

HOW = {"deadline": None, "database": None}


@pytest.fixture(scope="module")
def document(server):
    schemathesis = pytest.importorskip("schemathesis")  # slow, and every process of the tests imports this file
    from schemathesis.checks import load_all_checks

    load_all_checks()
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    "path, method, mode, examples",
    [
        ("/api/predict", "POST", "POSITIVE", 10),
        ("/api/predict", "POST", "NEGATIVE", 10),
        ("/api/info", "GET", "POSITIVE", 2),  # it takes no input that could be wrong
        ("/health", "GET", "POSITIVE", 2),
    ],
)
def test_answers_are_those_of_the_document(document, path, method, mode, examples):
    import hypothesis
    import schemathesis
    from schemathesis.checks import CHECKS

    operation = document[path][method]
    # Random bytes fit the document, but they are no video.
    unfit = [CHECKS.get_one("positive_data_acceptance")]

    @hypothesis.seed(1)
    @hypothesis.settings(**HOW, max_examples=examples, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def ask(case):
        case.call_and_validate(excluded_checks=unfit)

    ask()
