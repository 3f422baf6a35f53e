from typing import Any
def single_pass_pictures(runs: Any) -> Any: return []
