"""What the server takes at most, each with the words that refuse more."""

from __future__ import annotations

from tellapart.core.errors import DataError

# names under which a server on this machine alone is asked for
LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")
QUERY_CHARACTERS = 2_000
ID_CHARACTERS = 1_024
UPLOAD_BYTES = 12 * 1024 * 1024
BODY_BYTES = UPLOAD_BYTES + 256 * 1024
FIELD_BYTES = 128 * 1024
PIXELS = 50_000_000
RESULTS = 200
EXAMPLES = 20
FILTERS = 16
VALUES_A_FILTER = 100
CHOICES = 200
PICTURE_SIZES = (96, 192, 384, 768)
THUMBNAIL_BYTES = 64 * 1024 * 1024
TEXT_CHARACTERS = 20_000
CONFUSIONS = 200
CONFUSION_QUERIES = 20_000
WAITING = 64
TIME_LIMIT = 30.0
RETRY_AFTER = 1


class NoSuchItemError(DataError):
    """An id that the collection does not hold."""


class TooLargeError(DataError):
    """More bytes, pixels or items than the server takes."""


class BusyError(DataError):
    """More requests are waiting than the server keeps."""


class TookTooLongError(DataError):
    """A request was not answered within its time."""


class GoneError(DataError):
    """Nobody waits for the answer any more."""


def check_query(words: str) -> str:
    """The words without surrounding space, when they are not too many."""
    words = words.strip()
    if len(words) > QUERY_CHARACTERS:
        raise TooLargeError(
            f"the query has {len(words)} characters, and at most {QUERY_CHARACTERS} are read; shorten it"
        )
    return words


def check_upload(size: int) -> None:
    """Refuse a picture of more bytes than are taken."""
    if size > UPLOAD_BYTES:
        raise TooLargeError(
            f"the file has more than {UPLOAD_BYTES // 2**20} MiB; of a picture, 512 pixels a side are plenty"
        )


def check_k(k: int) -> int:
    """A number of results within bounds."""
    if not 1 <= k <= RESULTS:
        raise DataError(f"k={k}: between 1 and {RESULTS} results can be asked for")
    return k


def check_examples(name: str, ids: list[str]) -> list[str]:
    """Ids without repetition, when they are not too many."""
    ids = list(dict.fromkeys(ids))
    if len(ids) > EXAMPLES:
        raise DataError(f"{name} takes at most {EXAMPLES} items, and {len(ids)} are given")
    return ids
