"""The extension module: what is written in Rust."""

from typing import Any, TypeVar

from typing_extensions import Buffer, Self

T = TypeVar("T")

__version__: str

class Blob(Buffer):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def value(self) -> Any: ...
    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...

class Hashed:
    def __init__(self, hash: str, *value: Any) -> None: ...
    @property
    def hash(self) -> str: ...
    @property
    def has_value(self) -> bool: ...
    @property
    def value(self) -> Any: ...

class Call:
    def __init__(
        self,
        task: str,
        cache_version: str,
        inputs: dict[str, str | tuple[str, Any]],
        outputs: dict[str, str],
        *,
        project: str,
        domain: str,
        ignored: set[str],
    ) -> None: ...
    @property
    def task(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def inputs(self) -> dict[str, str]: ...
    @property
    def outputs(self) -> dict[str, str]: ...

class Converter:
    def __init__(self, spec: tuple[Any, ...]) -> None: ...
    @property
    def type(self) -> str: ...
    def digest(self, value: Any) -> str: ...
    def encode(self, value: Any) -> bytes: ...
    def decode(self, blob: bytes) -> Any: ...

class Plan:
    def __init__(
        self,
        task: str,
        cache_version: str,
        parameters: list[tuple[Any, ...]],
        outputs: tuple[Any, ...],
        *,
        project: str | None = None,
        domain: str | None = None,
        serialize: bool = False,
        mode: str | None = None,
        max_age: float | None = None,
        task_version: str | None = None,
        execution: str | None = None,
        own_only: bool = False,
        by_hand: bool = False,
    ) -> None: ...
    @property
    def input_types(self) -> dict[str, str]: ...
    @property
    def output_types(self) -> dict[str, str]: ...
    def recall(
        self,
        client: Client,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        mode: str | None = None,
        report: bool = False,
    ) -> Any: ...
    def call(
        self, client: Client, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> Call | None: ...

class Recall:
    @property
    def status(self) -> str: ...
    @property
    def problem(self) -> BaseException | None: ...
    @property
    def is_hit(self) -> bool: ...
    @property
    def value(self) -> Any: ...
    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None: ...
    @property
    def pending(self) -> dict[str, Any] | None: ...
    @property
    def report(self) -> dict[str, Any] | None: ...
    def wait(self, most: float | None = None) -> Any: ...
    def store(self, value: Any, took_ns: int) -> BaseException | None: ...
    def settled(self, value: T) -> T: ...
    def abandon(self) -> None: ...

class Caller:
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _look_up_by(self, plan: Plan, client: Client | None) -> None: ...

def use_by_default(client: Client) -> None: ...

class Client:
    def __init__(
        self,
        *,
        project: str,
        domain: str,
        own_uid: int,
        socket: str | None = None,
        deadline: float | None = None,
        stall: float | None = None,
        mode: str | None = None,
        start: bool = True,
        memory_bytes_max: int | None = None,
        program: str | None = None,
    ) -> None: ...
    @property
    def project(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def sockets(self) -> list[str]: ...
    def lookup(
        self, call: Call, max_age: float | None = None
    ) -> tuple[dict[str, Any] | None, Any]: ...
    def put(
        self,
        call: Call,
        outputs: dict[str, Any],
        *,
        overwrite: bool = False,
        max_age: float | None = None,
        run: dict[str, Any] | None = None,
    ) -> bool: ...
    def claim(
        self,
        call: Call,
        *,
        wait: float | None = None,
        take: bool = True,
        owner: str | None = None,
        heartbeat: float | None = None,
        max_age: float | None = None,
    ) -> tuple[str, dict[str, Any], Any]: ...
    def read(self, key: str, output: str) -> Blob: ...
    def why(
        self, call: Call, nearest_max: int, max_age: float | None = None
    ) -> dict[str, Any]: ...
    def invalidate_keys(self, keys: list[str], dry_run: bool) -> int: ...
    def invalidate_matching(
        self,
        *,
        scope: tuple[str, str] | None,
        task: str | None,
        cache_version: str | None,
        writer_uid: int | None,
        older_than: float | None,
        dry_run: bool,
    ) -> int: ...
    def keys_of_execution(self, execution: str) -> list[str]: ...
    def stats(self) -> dict[str, int]: ...
    def status(self) -> dict[str, Any]: ...
    def ping(self) -> None: ...

class Lease:
    def put(
        self,
        outputs: dict[str, Any],
        *,
        overwrite: bool = False,
        max_age: float | None = None,
        run: dict[str, Any] | None = None,
    ) -> bool: ...
    def release(self) -> None: ...
    @property
    def is_held(self) -> bool: ...
