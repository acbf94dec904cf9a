"""Why a download from the Hugging Face Hub has failed, in one line."""

import errno
import json
from collections.abc import Iterator

_AGAIN = "try again later"

BREAKS = "the connection has broken off too often"
"""What is raised for a file that has been asked for too often."""


def reason_of_failure(error: Exception, name: str, revision: str | None) -> str:
    """Return why a download failed, and what to do.

    Args:
        error: What was raised; the errors that it comes from are looked at, too.
        name: The hub id.
        revision: Branch, tag or commit, if one was asked for.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = constants.ENDPOINT.removeprefix("https://")
    url = f"{constants.ENDPOINT}/{name}"
    chain = list(_causes(error))

    def has(*kinds: type[Exception]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    if full := next((one for one in chain if isinstance(one, OSError) and _is_of_the_disk(one)), None):
        where = full.filename or constants.HF_HUB_CACHE
        return f"{where}: {full.strerror}: the download of {name} needs a place; HF_HOME may name another folder"
    if has(GatedRepoError):  # before its base class, RepositoryNotFoundError
        return f"{name} is gated: accept its terms at {url}, then log in with `hf auth login`"
    if has(RepositoryNotFoundError, HFValidationError):
        return (
            f"there is no model {name}: it is no directory here and not on the Hugging Face Hub: "
            "check the spelling; if it is private, log in with `hf auth login`"
        )
    if has(RevisionNotFoundError):
        return f"{name} has no revision {revision}: see {url}/tree/main for those it has"
    if status := next((code for one in chain if (code := _status(one))), 0):
        return _answered(name, status, has(EntryNotFoundError), hub, chain)
    if has(json.JSONDecodeError):
        return (
            f"{name} could not be downloaded: what answers for {hub} is not the Hugging Face Hub, but perhaps the "
            "login page of the network: open one in a browser first, or check the proxy"
        )
    # by their names: which library has them depends on the version of huggingface_hub
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    words = " ".join(str(one) for one in chain)
    if "CERTIFICATE" in words or "SSLError" in names or "[SSL" in words:
        return (
            f"{name} could not be downloaded: the connection to {hub} is not secure (its certificate cannot be "
            "verified): check the network's proxy, and name its certificates by SSL_CERT_FILE"
        )
    if "ProxyError" in names:
        return f"{name} could not be downloaded: the proxy refuses: check HTTPS_PROXY"
    if names & {"TimeoutException", "Timeout", "TimeoutError"}:
        return f"{name} could not be downloaded: {hub} does not answer in time: {_AGAIN}, or check the network"
    if names & {"RemoteProtocolError", "ReadError", "ChunkedEncodingError"} or BREAKS in words:
        return f"{name} could not be downloaded: the connection to {hub} breaks off: {_AGAIN}"
    if has(LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return (
            f"{name} is no directory here and not in the local cache, and HF_HUB_OFFLINE is set: unset it, or download "
            "the model once beforehand"
        )
    if has(LocalEntryNotFoundError) and not names & {"FileMetadataError"}:
        refused = next((f" ({one})" for one in chain if "ConnectError" in type(one).__name__), "")
        return (
            f"{name} is no directory here and not in the local cache, and the Hugging Face Hub cannot be reached"
            f"{refused}: check the spelling and the network"
        )
    return f"{name} could not be downloaded ({' '.join(str(error).split())}): try again"


def _answered(name: str, status: int, is_file: bool, hub: str, chain: list[Exception]) -> str:
    """Return the message for an answer of the Hub that is a refusal."""
    start = f"{name} could not be downloaded: {hub} answers {status}"
    if status == 401:
        return f"{start} (a login is needed, or is not valid): log in with `hf auth login`, or unset HF_TOKEN"
    if status == 403:
        return f"{start} (not allowed): ask the model's owner for access, then log in with `hf auth login`"
    if status == 404:
        what = "a file that it lists is not there" if is_file else "not found"
        return f"{start} ({what}): check the spelling and the revision"
    if status == 429:
        wait = next((seconds for one in chain if (seconds := _retry_after(one))), "")
        after = f" for {wait} s" if wait else ""
        return f"{start} (too many requests): wait{after or ' a while'}, or log in with `hf auth login`"
    if status >= 500:
        return f"{start} (an error of its own): {_AGAIN}"
    return f"{start}: try again"


def _causes(error: BaseException | None) -> Iterator[Exception]:
    """Yield an error and those that it comes from."""
    seen = set[int]()
    while isinstance(error, Exception) and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_of_the_disk(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _retry_after(error: Exception) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    seconds = str(headers.get("Retry-After", ""))
    return seconds if seconds.isdecimal() else ""
