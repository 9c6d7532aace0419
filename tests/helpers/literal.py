"""The code of a vector as the paper's equations say it, word by word."""


def literal_code(sae, x):
    """TopK_k(ReLU(W_e (x − b) + b_e)), one coordinate at a time, as a dense vector."""
    w, b_e, b = sae.w_enc.tolist(), sae.b_enc.tolist(), sae.b_dec.tolist()
    pre = [sum(w[j][i] * (x[i] - b[i]) for i in range(len(x))) + b_e[j] for j in range(len(w))]
    relu = [max(p, 0.0) for p in pre]
    keep = sorted(range(len(relu)), key=lambda j: -relu[j])[: sae.k]
    return [relu[j] if j in keep else 0.0 for j in range(len(relu))]
