"""Which k-gated policy goes with which algorithm and which plain policy: a registry, and errors where none fits."""

from __future__ import annotations

import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecEnv

from nb_agents.inference.normalization import normalizing, standardised_parts
from nb_agents.inference.student import HISTORY
from nb_agents.policies.train_only import TrainOnlyMixin

GENERIC_NAMES = ("KGatedPolicy", "KGatedCnnPolicy", "KGatedMultiInputPolicy")
"""Names of an algorithm's k-gated policies with every algorithm, as SB3's are MlpPolicy, CnnPolicy and so on."""

_families: set[type[BasePolicy]] = set()
_algorithms: list[type[BaseAlgorithm]] = []
_policies: list[type[BasePolicy]] = []
_without_backward: list[type[BaseAlgorithm]] = []


def offer(
    family: type[BasePolicy],
    algorithms: tuple[type[BaseAlgorithm], ...],
    *policies: type[BasePolicy],
    backward: bool = True,
) -> None:
    """Let algorithms know their k-gated policies by name, so that ``SAC("KGatedPolicy", env)`` is one of SAC's.

    Args:
        family: The SB3 class that all policies of these algorithms extend.
        algorithms: Algorithms that train them, which know them by SB3's table of names, ``policy_aliases``.
        *policies: Classes for vectors, images and dictionaries of observations, in this order.
        backward: Whether they call ``backward()`` for the actor.
    """
    _without_backward.extend(() if backward else algorithms)
    _families.add(family)
    _algorithms.extend(algorithms)
    _policies.extend(policies)
    for algorithm in algorithms:
        algorithm.policy_aliases.update(zip(GENERIC_NAMES, policies, strict=False))
    for algorithm in _algorithms:
        for policy in _policies:  # other algorithms' too: their constructor says which name is the right one
            if policy.__name__ not in GENERIC_NAMES:
                algorithm.policy_aliases.setdefault(policy.__name__, policy)


def plain_class(policy_class: type[BasePolicy]) -> type[BasePolicy]:
    """The class of SB3's, sb3-contrib's or the user's that a k-gated one extends."""
    return next(c for c in policy_class.__mro__ if issubclass(c, BasePolicy) and not issubclass(c, TrainOnlyMixin))


def gated_classes(algorithm: type[BaseAlgorithm]) -> dict[type[BasePolicy], type[BasePolicy]]:
    """The k-gated classes that an algorithm was offered, by the plain class of each."""
    known = (algorithm.policy_aliases.get(name) for name in GENERIC_NAMES)
    return {plain_class(policy): policy for policy in known if policy is not None}


def check_algorithm(policy: Any) -> None:
    """Refuse an algorithm that cannot train ``policy``; to be called from its constructor.

    SB3 would build the policy and fail later, at a missing attribute or in the first rollout.

    Raises:
        TypeError: If an SB3 algorithm of another family is building the policy.
    """
    algorithm = _builder(policy)
    known = {} if algorithm is None else algorithm.policy_aliases
    own = {name: cls for name, cls in known.items() if name in GENERIC_NAMES or cls not in _policies}
    families = {_family(cls) for cls in own.values()} - {None}
    if families and _family(type(policy)) not in {None, *families}:
        name = type(algorithm).__name__
        ours = [own[key].__name__ for key in GENERIC_NAMES if key in own]
        raise TypeError(
            f'{name} cannot train a {type(policy).__name__}: write {name}("KGatedPolicy", ...)'
            + (f", or one of {', '.join(ours)}" if ours else "")
        )


def check_backward(policy: Any) -> None:
    """Refuse an algorithm that takes an actor's gradient in another way than by ``backward()``; likewise.

    Raises:
        ValueError: If such a one is building the policy.
    """
    algorithm = _builder(policy)
    if isinstance(algorithm, tuple(_without_backward)):
        raise ValueError(
            f"k_target_weight must be 0 with k_from in {type(algorithm).__name__}, whose gradients no k-target can join"
        )


def check_learns_by_backward(model: BaseAlgorithm) -> None:
    """Refuse a model whose actor is trained in another way than by an optimizer after ``backward()``.

    Raises:
        TypeError: If it is one.
    """
    if isinstance(model, tuple(_without_backward)) or not isinstance(model, (OnPolicyAlgorithm, OffPolicyAlgorithm)):
        raise TypeError(f"model's algorithm must train its actor by backward(), got {type(model).__name__}")


def check_normalization(policy: Any, k_from: str | tuple[()] | None) -> None:
    """Refuse a `VecNormalize` that would standardise the part that k's are computed from, or a history; likewise.

    Its statistics move during training, so that f would be shown other numbers for the same context; and a history's
    mask and its rows of zeros would no longer be any.

    Raises:
        ValueError: If k's are computed and the algorithm that is building the policy has such an environment.

    Warns:
        UserWarning: If k's are not computed, and a history would be standardised.
    """
    algorithm = _builder(policy)
    if algorithm is not None:
        env = algorithm.get_env()
        _check_parts(env, k_from)
        _watched[policy] = weakref.ref(algorithm), _reference(env)


def check_normalization_again(policy: Any, k_from: str | tuple[()] | None) -> None:
    """The same, once, of another environment that the algorithm has by now: SB3's ``set_env`` tells no policy."""
    algorithm_of, env_of = _watched.get(policy, (_reference(None),) * 2)
    algorithm = algorithm_of()
    if algorithm is not None and (env := algorithm.get_env()) is not env_of():
        _check_parts(env, k_from)
        _watched[policy] = algorithm_of, _reference(env)


_watched: weakref.WeakKeyDictionary[Any, tuple[Callable[[], Any], Callable[[], Any]]] = weakref.WeakKeyDictionary()
"""Algorithm and environment of policies that algorithms have built; copies of these are on their own."""


def _reference(env: VecEnv | None) -> Callable[[], VecEnv | None]:
    return (lambda: None) if env is None else weakref.ref(env)


def _check_parts(env: VecEnv | None, k_from: str | tuple[()] | None) -> None:
    standardised = standardised_parts(env)
    names = [repr(name) for name in dict.fromkeys((k_from or HISTORY, HISTORY)) if name in standardised]
    if not names:
        return
    how = f"leave {' and '.join(names)} out of norm_obs_keys"
    if not any(isinstance(layer.obs_rms, dict) for layer in normalizing(env)):
        how = f"make the parts a dictionary, by the wrappers' key, and {how}"
    said = f"VecNormalize must not standardise {' and '.join(names)}: {how}, or pass norm_obs=False"
    if k_from:
        raise ValueError(said)
    warnings.warn(f"{said}: the mask of the history and its zeros are no longer any", stacklevel=2)


def check_observations(policy: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    """Refuse observations of another kind than the policy takes; to be called at the start of its constructor.

    SB3 would fail at a missing attribute, flatten a dictionary, or name its own classes. A features extractor of the
    user's takes what it takes, and spaces that SB3 does not know are left to SB3.

    Args:
        policy: The policy, before it is built.
        arguments: Positional arguments of the SB3 policy.
        keywords: Keyword arguments of the SB3 policy.

    Raises:
        TypeError: If the policy is for other observations.
    """
    try:
        given = inspect.signature(_outside(type(policy)).__init__).bind_partial(policy, *arguments, **keywords)
    except TypeError:
        return  # SB3's constructor says what is wrong
    given.apply_defaults()
    space, extractor = given.arguments.get("observation_space"), given.arguments.get("features_extractor_class")
    if extractor not in _TAKES or not isinstance(space, spaces.Space):
        return
    takes = _TAKES[extractor]
    normalized = (given.arguments.get("features_extractor_kwargs") or {}).get("normalized_image", False)
    images = not given.arguments.get("normalize_images", True) or normalized
    if isinstance(space, spaces.Dict):
        found, fits = "are a dictionary", takes == "dictionaries"
    else:
        is_image = is_image_space(space, check_channels=False, normalized_image=images)
        found = "are images" if is_image else f"have shape {space.shape}"
        fits = is_image if takes == "images" else takes == "vectors"
    if not fits:
        name = GENERIC_NAMES[2 if isinstance(space, spaces.Dict) else 1 if found == "are images" else 0]
        raise TypeError(f'{type(policy).__name__} takes {takes}, but the observations {found}: write policy="{name}"')


_TAKES: dict[Any, str] = {FlattenExtractor: "vectors", NatureCNN: "images", CombinedExtractor: "dictionaries"}


def _outside(policy_class: type[Any]) -> Any:
    """The first class with a constructor that names its features extractor."""
    return next(
        (
            cls
            for cls in policy_class.__mro__
            if "__init__" in vars(cls)
            and "features_extractor_class" in inspect.signature(vars(cls)["__init__"]).parameters
        ),
        policy_class,
    )


def _family(policy_class: type[BasePolicy]) -> type[BasePolicy] | None:
    return next((cls for cls in policy_class.__mro__ if cls in _families), None)


def _builder(policy: Any) -> BaseAlgorithm | None:
    """The algorithm that is calling the policy's constructor to train it; None for a policy built by itself.

    SB3 does not pass the algorithm to a policy, so it is read off the call.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_locals.get("self") is policy:
        frame = frame.f_back
    caller = frame.f_locals.get("self")
    return caller if isinstance(caller, BaseAlgorithm) and frame.f_code.co_name == "_setup_model" else None
