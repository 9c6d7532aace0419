"""The page of scale.py: products of measured rates, and what each part of the package is limited by."""

import math

from pyterrier_xetrieval.index.npids_file import _AT_ONCE
from pyterrier_xetrieval.index.storage import FEATURE

SIZES = {"10M": 10**7, "100M": 10**8, "1B": 10**9}
PART_SIZES = {"10M": 10_000, "100M": 10_000, "1B": 100_000}
SHARD = 10_000  # the default
ENTRY = 68  # bytes that an entry of a shard's postings takes in memory while they are sorted


def amount(n_bytes: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if n_bytes < 999.5 or unit == "TB":
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    raise AssertionError


def duration(s: float) -> str:
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60)):
        if s >= 1.5 * length:
            return f"{s / length:,.0f} {unit}" if s >= 10 * length else f"{s / length:.1f} {unit}"
    return f"{s:.2g} s"


def core_hours(s: float) -> str:
    return f"{s / 3600:,.0f}" if s >= 36000 else f"{s / 3600:.1f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_size(rows: list[tuple]) -> str:
    """A table with a column for each size; rows of (what, function of the number of documents, how to show it)."""
    return table(["", *SIZES], [[what, *[show(value(n)) for n in SIZES.values()]] for what, value, show in rows])


def passes(n: int) -> int:
    """How often the docno lookup's table of ``n`` documents is sorted in part, and all docnos read for it."""
    buckets = 1 << (n - 1).bit_length()
    return math.ceil(buckets / max(1, buckets * _AT_ONCE // n))


def render(m: dict) -> str:
    each = m["bytes_per_document"] | {name: size / SHARD for name, size in m["bytes_per_shard"].items()}
    vectors = sum(size for name, size in each.items() if "vecs" in name)
    names = each["docnos.u1"] + each["docnos.npids"]
    postings = sum(each[name] for name in each if name.startswith("postings")) + each["features.bin"]
    codes = sum(each.values()) - vectors - names - postings
    total, one = sum(each.values()), vectors / 2
    entries, part_of = m["codes_per_document"], dict(zip(SIZES.values(), PART_SIZES.values()))
    rest = 1 / m["indexer_docs_per_s"]
    core, quick = 1 / m["encoder_docs_per_s"] + rest, 1 / m["encoder_bfloat16_docs_per_s"] + rest
    unique = 1 / m["seen_docnos_per_s"]["at 2,000,000"]

    def on_cores(cores):  # parts one after the other on each core; the last round may leave cores idle
        return lambda n: math.ceil(n / part_of[n] / cores) * part_of[n] * core

    def lookup(n):
        return n * (m["lookup_us_per_document"] + passes(n) * m["lookup_us_per_document_and_pass"]) / 1e6

    def lists(n):
        return 4 * math.sqrt(n)

    def ivf_pq(n):
        return n * (1 / m["pq_add_per_s"] + lists(n) * m["ns_per_list_and_vector"] / 1e9)

    hnsw_rates = m["hnsw_add_per_s"]
    hnsw, pq = m["hnsw_bytes_per_vector"], m["pq_bytes_per_vector"]
    exact1, exact64 = m["exact_ms_per_million_1"] / 1e9, m["exact_ms_per_million_64"] / 1e9  # seconds per vector
    time_table = by_size([
        ("core-hours, encoder float32", lambda n: n * core, core_hours),
        ("core-hours, encoder bfloat16", lambda n: n * quick, core_hours),
        ("of these internalizers, codes and writing", lambda n: n * rest, core_hours),
        ("documents per part (`part_size`)", lambda n: part_of[n], "{:,}".format),
        ("one machine of 64 cores (float32)", on_cores(64), duration),
        ("10 of them", on_cores(640), duration),
        ("100 of them", on_cores(6400), duration),
        ("one process before: copying, where the corpus is no Parquet", lambda n: n / m["copied_docs_per_s"], duration),
        ("one process before: no docno is there twice", lambda n: n * unique, duration),
        ("one process after: joining the parts, the same check included", lambda n: n / m["merge_docs_per_s"], duration),
        ("one process after: the docno lookup", lookup, duration),
        ("core-hours, samples of features (`feature_samples`)", lambda n: n / m["samples_docs_per_s"], core_hours),
    ])  # fmt: skip
    disk = by_size([
        ("original and folded vectors, float32", lambda n: n * vectors, amount),
        ('the same as `dtype="float16"`', lambda n: n * vectors / 2, amount),
        ("codes of four views", lambda n: n * codes, amount),
        ("postings and statistics of features", lambda n: n * postings, amount),
        ("docnos and their lookups", lambda n: n * names, amount),
        ("**index on disk (float32)**", lambda n: n * total, amount),
        ("**index on disk (float16)**", lambda n: n * (total - vectors / 2), amount),
        ("while parts are joined: float32, twice, and a model in each part",
         lambda n: 2 * n * total + n / part_of[n] * m["bytes_of_model"], amount),
    ])  # fmt: skip
    search = by_size([
        ("exact: folded vectors, float32", lambda n: n * one, amount),
        ("exact, one core: time of one query", lambda n: n * exact1, duration),
        ("exact, one core: of a query among 64 at once", lambda n: n * exact64, duration),
        ("HNSW (32 neighbours): memory", lambda n: n * hnsw, amount),
        ("HNSW: core-hours to build, at least", lambda n: n / hnsw_rates["100000"], core_hours),
        ("IVF-PQ (64 bytes): memory", lambda n: n * pq + lists(n) * one, amount),
        ("IVF-PQ: lists (4 √documents)", lists, "{:,.0f}".format),
        ("IVF-PQ: core-hours to train the lists (10 rounds of 256 vectors for each)",
         lambda n: 2560 * lists(n) ** 2 * m["ns_per_list_and_vector"] / 1e9, core_hours),
        ("IVF-PQ: core-hours to add", ivf_pq, core_hours),
    ])  # fmt: skip
    measured = table(["measured on one core, per second of processor time", ""], [
        ["encoder, texts of 200 words, float32", f"{m['encoder_docs_per_s']:.1f} documents/s"],
        ["the same, bfloat16", f"{m['encoder_bfloat16_docs_per_s']:.1f} documents/s"],
        ["internalizers, codes, writing; vectors given", f"{m['indexer_docs_per_s']:,.0f} documents/s"],
        ["`feature_samples`; vectors given", f"{m['samples_docs_per_s']:,.0f} documents/s"],
        ["copying texts of 200 words to parts", f"{m['copied_docs_per_s']:,.0f} documents/s"],
        ["`merge` of 20,000 documents", f"{m['merge_docs_per_s']:,.0f} documents/s, {m['merge_mb_per_s']:.0f} MB/s"],
        ["exact search, one query", f"{m['exact_ms_per_million_1']:.0f} ms per million vectors"],
        ["exact search, 64 queries at once", f"{m['exact_ms_per_million_64']:.0f} ms per million vectors and query"],
        ["HNSW, adding", ", ".join(f"{rate:,.0f}/s up to {int(at):,}" for at, rate in hnsw_rates.items()) + " vectors"],
        ["HNSW", f"{hnsw:,.0f} bytes per vector"],
        ["PQ with 64 lists, adding", f"{m['pq_add_per_s']:,.0f} vectors/s, {pq:.0f} bytes each"],
        ["IVF, finding the list of a vector", f"{m['ns_per_list_and_vector']:.0f} ns for each list"],
        ["docno lookup", f"{m['lookup_us_per_document']:.2f} µs per document, and "
                         f"{m['lookup_us_per_document_and_pass']:.2f} µs for each pass"],
        ["check for docnos given twice", ", ".join(f"{at}: {rate:,.0f}/s" for at, rate in m["seen_docnos_per_s"].items())],
        ["lookup of one feature, each further shard", f"{m['ms_per_shard_of_feature_lookups']:.3f} ms"],
        ["opening an index, each further shard", f"{m['ms_per_shard_of_opening']:.3f} ms"],
        ["features of a document, all views", f"{entries:.0f}"],
    ])  # fmt: skip
    by_file = table(["file", "bytes per document"], [[f"`{name}`", f"{size:,.1f}"] for name, size in each.items()])
    lookups_of = {name: n / SHARD * m["ms_per_shard_of_feature_lookups"] / 1000 for name, n in SIZES.items()}
    opening = {name: n / SHARD * m["ms_per_shard_of_opening"] / 1000 for name, n in SIZES.items()}
    most = (2**32 - 1) / max(entries, each["postings_gaps.u1"])
    limits = table(["what", "until", "why, and what then"], [
        ["docnos given twice", "some 100M", "one SQLite tree in the temporary folder (`SQLITE_TMPDIR`), about 1.5 times the "
         "docnos' bytes; slower than said above once it is larger than memory, unless docnos come in their order"],
        ["joining", "a few 100M", "one process and one disk. Beyond it, keep parts as separate indexes, or join some of them"],
        ["docno lookup, time", "see above", f"`docnos.npids` is sorted in passes of {_AT_ONCE:,} documents over all docnos, in "
         f"constant memory: {', '.join(f'{passes(n):,} at {name}' for name, n in SIZES.items())}, so that time grows with the "
         "square of the number of documents"],
        ["docno lookup, memory", "some 100M", "npids reads the file whole when it is first used: "
         f"{amount(0.5 * each['docnos.npids'] * 1e9)} at a billion for each of `index.folded` (retrieval) and `index.vectors` "
         "(explanations) in use, in each process"],
        ["docno lookup, numbers", "2³¹ documents", "pyterrier_dr's exact retriever counts documents in int32, npids in uint32"],
        ["exact search", "some 10M", f"every query reads all folded vectors: {duration(1e9 * exact1)} of one core at a billion"],
        ["HNSW", "some 100M", f"{amount(1e9 * hnsw)} of memory at a billion; split into indexes by parts, or IVF-PQ"],
        ["features: `documents_of`, `feature_retriever`", "shards, not documents", "each shard is visited: "
         f"{', '.join(f'{duration(s)} at {name}' for name, s in lookups_of.items())} with shards of {SHARD:,}, read before; a "
         "disk adds a few reads for each. Take a larger `shard_size`: a shard's postings are sorted in memory, about "
         f"{amount(ENTRY * entries * 1e5)} for 100,000 documents"],
        ["statistics of features", "shards", f"`features.bin` has {FEATURE.itemsize} bytes for each feature in each shard, "
         f"{amount(m['bytes_per_shard']['features.bin'])} a shard: {amount(1e5 * m['bytes_per_shard']['features.bin'])} at a "
         f"billion with shards of {SHARD:,}, read one shard at a time"],
        ["`shard_size`", f"{most / 1e6:.0f}M documents", f"32-bit ends of postings within a shard, at {entries:.0f} features a "
         "document; memory ends it earlier"],
        ["opening the index", "shards", "a line of JSON for each: "
         f"{', '.join(f'{duration(s)} at {name}' for name, s in opening.items())} with shards of {SHARD:,}"],
        ["parts", "some 10,000", f"each is an index with a model of its own, {amount(m['bytes_of_model'])}; but a part is one "
         f"core's work, {duration(SHARD * core)} for 10,000 documents, and cores beyond the number of parts are idle"],
        ["`index.verify()`", "", "reads everything once"],
        ["a corpus that is no Parquet", "some 100M", "an iterator is read by one process and copied to parts before workers "
         "begin; Parquet files are read where they are"],
        ["`feature_samples` on a cluster", "", "2 bytes for each feature of each document in the work folder while it runs, "
         f"{amount(2 * entries * 1e9)} at a billion; docnos are a list in the driver's memory, some 100M at most. Samples of a "
         "part of the corpus say as much"],
        ["`write_texts`", "some 10M documents", "docnos and aspects of all texts are held in memory while the file is put "
         "together; a teacher's price ends it earlier"],
    ]).replace("| --- | ---: | ---: |", "| --- | --- | --- |")  # fmt: skip
    return f"""# Scale

What an index of 10 million, 100 million and a billion documents costs with the bundled model ({m["dim"]} dimensions, four
views, {m["bytes_per_shard"]["features.bin"] / FEATURE.itemsize:,.0f} features when this was measured), computed from rates measured by
`python benchmarks/scale.py` on one core of {m["processor"]} ({m["date"]}; the figures are in
[scale.json](scale.json)). Nothing of these sizes was built here: below are products of
measured rates, in processor time, with no allowance for waits on disks and networks, uneven parts, the workers' start or
failures. Load average per core meanwhile: {m["load_per_core"]:.1f}; above 1, programs share caches and memory, and rates come
out lower than on a quiet machine. 1 GB = 10⁹ bytes.

## Time

Indexing is `index_corpus(encoder >> model.indexer(path), corpus, part_size=…)` of `pyterrier_xetrieval.distributed`: parts
are independent, each the work of one core; what comes before and after them is one process.

{time_table}

With GPUs the encoder's share becomes documents / (documents per second of the encoder on one GPU) / 3600 GPU-hours; measure
that rate on the GPU at hand. The encoder is {100 / m["encoder_docs_per_s"] / core:.0f} % of a document's time on a CPU; behind a
GPU, the rest wants a core for each {m["indexer_docs_per_s"]:,.0f} documents/s, or the model on the GPU as well
(`Xetrieval(path, device="cuda")`). Texts of a teacher are not in the table: their time is that of its endpoint.

## Disk

{disk}

## Search

{search}

Exact search is `index.retriever()`: it streams the folded vectors for every call, from memory if the machine has as much,
otherwise from the disk; divide by cores or machines that hold a share each. Adding to HNSW slows down as it grows (see the
two rates below), so that its hours are a lower bound. HNSW and IVF-PQ are approximate; their recall was not measured here.
`index.folded.faiss_hnsw_retriever()` is pyterrier_dr's; IVF-PQ has no stage there (`faiss_ivf_retriever()` keeps whole
vectors) and is built with faiss on `folded/vecs.f4`. Explaining a page reads only the codes of its documents, whatever the
size of the index.

## Where it breaks

{limits}

## Measured

{measured}

Of an index of {m["documents_of_real_index"]:,} documents (`pydocs`, encoded), `features.bin` and `shards.jsonl` as in shards of
{SHARD:,}:

{by_file}

The other rates are of mixtures of two documents' vectors each, 200,000 for search.
"""
