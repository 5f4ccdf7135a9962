from zart_cli.traces import without_engine

TRACE = """Traceback (most recent call last):
  File "/app/flows.py", line 26, in order
    txn = await pay(order)
          ^^^^^^^^^^^^^^^^
  File "/venv/zart_core/executor.py", line 145, in perform
    return await future
           ^^^^^^^^^^^^
  File "/app/flows.py", line 19, in pay
    raise CardDeclined("a")
flows.CardDeclined: a
second line
"""


def test_frames_of_the_engine_are_left_out_and_all_else_stays() -> None:
    assert (
        without_engine(TRACE)
        == """Traceback (most recent call last):
  File "/app/flows.py", line 26, in order
    txn = await pay(order)
          ^^^^^^^^^^^^^^^^
  File "/app/flows.py", line 19, in pay
    raise CardDeclined("a")
flows.CardDeclined: a
second line
"""
    )


def test_an_engine_frame_at_the_end_does_not_swallow_the_message() -> None:
    trace = 'Traceback (most recent call last):\n  File "/v/zart_core/a.py", line 1, in f\n    raise x\nValueError: x\n'
    assert without_engine(trace) == "Traceback (most recent call last):\nValueError: x\n"


def test_text_that_is_no_traceback_stays() -> None:
    assert without_engine("just words\n") == "just words\n"
    assert without_engine("") == ""
