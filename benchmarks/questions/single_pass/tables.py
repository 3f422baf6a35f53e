from typing import Any
def single_pass_tables(runs: Any) -> Any: return []
def single_pass_answer(runs: Any) -> Any: return None
