from executor.bench import Bench


def test_a_command_that_succeeds_completes_the_run(bench: Bench) -> None:
    result = bench.run([["true"]])

    assert result.outcome.succeeded
    assert result.record.phase == "finishing"
    assert (result.log_directory / "done").exists()
