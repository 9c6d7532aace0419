"""How an index lies in Milvus: one entity per document, and one property of the collection that describes them."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..index.packing import DamagedCodes, PackedCodes

if TYPE_CHECKING:
    from pymilvus import MilvusClient

FACTS, VERSION = "pyterrier_xetrieval", 1  # the property, JSON
DOCNO, FOLDED, VECTOR, CODES = "docno", "folded", "vector", "codes"  # fields of an entity
UNFINISHED = "_unfinished"  # ends the name of a collection until its upload is complete
BATCH = 256  # documents per request: 4,096 dimensions make 9 MB, and a server takes 64
MAX_BYTES = 65_535  # of a VARCHAR, Milvus's limit
_HEADER = np.dtype([("ids", "<u4"), ("pairs", "<u4"), ("low", "<f4"), ("high", "<f4")])


def absolute(uri: Any) -> Any:
    """The address with a local file's whole path; servers and clients as they are."""
    return str(Path(uri).expanduser().absolute()) if str(uri).endswith(".db") else uri


def connect(uri: str | os.PathLike[str] | MilvusClient, *, create: bool = False) -> MilvusClient:
    """The client for a server or a local file; a client is its own.

    Args:
        create: make a local file that is not there, which Milvus Lite does for every path that it is given.

    Raises:
        FileNotFoundError: a local file that is not there.
    """
    from pymilvus import MilvusClient  # slow to import

    if isinstance(uri, MilvusClient):
        return uri
    address = str(absolute(uri))
    if address.endswith(".db") and not create and not Path(address).exists():
        raise FileNotFoundError(f"no Milvus Lite database at {address}; upload(index, uri, collection) makes one")
    return MilvusClient(address)


def create(client: MilvusClient, collection: str, facts: Mapping[str, Any]) -> None:
    """Makes an empty collection, with an exact index on both vectors."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(DOCNO, DataType.VARCHAR, is_primary=True, max_length=MAX_BYTES)
    schema.add_field(CODES, DataType.VARCHAR, max_length=MAX_BYTES)
    indexes = client.prepare_index_params()
    for name in (FOLDED, VECTOR):  # Milvus loads a collection only if every vector field has an index
        schema.add_field(name, DataType.FLOAT_VECTOR, dim=facts["dim"])
        indexes.add_index(name, index_type="FLAT", metric_type="IP")
    # strong: whoever reads finds all that was written before
    client.create_collection(
        collection, schema=schema, index_params=indexes, consistency_level="Strong", properties={FACTS: json.dumps(facts)}
    )


def facts_of(client: MilvusClient, collection: str) -> dict[str, Any] | None:
    """What :func:`create` wrote about a collection; None for one that it did not make."""
    text = client.describe_collection(collection).get("properties", {}).get(FACTS)
    return None if text is None else json.loads(text)


def count(client: MilvusClient, collection: str) -> int:
    """How many entities a loaded collection has."""
    return client.query(collection, "", output_fields=["count(*)"])[0]["count(*)"]


def one_of(docnos: Sequence[str]) -> str:
    r"""Milvus's filter for these documents; ``client.get`` does not escape what is special in a string.

    Example::

        >>> one_of(["d1", 'a "b"'])
        'docno in ["d1", "a \\"b\\""]'
    """
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
    quoted = (f'"{docno.translate(escapes)}"' for docno in docnos)
    return f"{DOCNO} in [{', '.join(quoted)}]"


def to_text(codes: PackedCodes) -> list[str]:
    """The codes of each document in base64: Milvus has no field for bytes."""
    header = np.empty(len(codes.low), _HEADER)
    header["ids"], header["pairs"], header["low"], header["high"] = codes.ids_counts, codes.pairs_counts, codes.low, codes.high
    ids, pairs = (np.cumsum(counts)[:-1] for counts in (codes.ids_counts, codes.pairs_counts))
    of_ids = (np.split(array, ids) for array in (codes.ids, codes.views))
    of_pairs = (np.split(array, pairs) for array in (codes.coefficients.astype("<f2"), codes.activations))
    pieces = (header, *of_ids, *of_pairs)
    return [b64encode(b"".join(piece.tobytes() for piece in document)).decode() for document in zip(*pieces)]


def from_text(texts: Sequence[str]) -> PackedCodes:
    """What :func:`to_text` wrote, of one or more documents; DamagedCodes for what it cannot have written."""
    try:
        data = [b64decode(text, validate=True) for text in texts]
    except ValueError as error:
        raise DamagedCodes(f"the codes of a document are not base64 ({error})") from None
    if min(map(len, data)) < _HEADER.itemsize:
        raise DamagedCodes("the codes of a document are cut off")
    header = np.frombuffer(b"".join(d[: _HEADER.itemsize] for d in data), _HEADER)
    ids, pairs = header["ids"].astype(np.int64), header["pairs"].astype(np.int64)
    # where each document's header, ids, views, coefficients and activations end
    ends = np.cumsum([np.full(len(data), _HEADER.itemsize), ids, ids, 2 * pairs, pairs], axis=0)
    if ends[-1].tolist() != [len(d) for d in data]:
        raise DamagedCodes("the codes of a document do not fit together")
    arrays = (
        np.frombuffer(b"".join(d[begin:end] for d, begin, end in zip(data, begins, ends)), dtype)
        for begins, ends, dtype in zip(ends[:-1].tolist(), ends[1:].tolist(), ("u1", "u1", "<f2", "u1"))
    )
    gaps, views, coefficients, activations = arrays
    return PackedCodes(gaps, views, ids, coefficients, activations, pairs, header["low"], header["high"])
