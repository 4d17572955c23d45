"""Classes whose names lie where their items are, and classes whose names say nothing."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"by": "kind", "shots": 3, "template": "a {}", "classes": 4, "most": 2}]


def check(build, options):
    rng = np.random.default_rng(0)
    n, by, template = 150, options.get("by", "label"), options.get("template", "{}")
    kind = np.minimum(np.arange(n) % 6, 3)
    centres = 2.5 * np.linalg.qr(rng.normal(size=(8, 8)))[0][:4]
    z = centres[kind] + 0.5 * rng.normal(size=(n, 8))
    names = ["code 7", "sun", "moon", "star"]
    # The first name lies where the third class is, so it finds none of its own.
    said = {template.replace("{}", name): centres[3 if i == 0 else i] for i, name in enumerate(names)}
    said[template.replace("{}", "star")] = said[template.replace("{}", "star")] + 0.1
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([said[text] for text in texts])

    collection = Collection.of({"id": [f"i{i:03d}" for i in range(n)], by: [names[k] for k in kind]})
    report = build(**options)({"image": z, "text-encoder": encode}, collection, seed=0)
    assert sorted(asked) == sorted(said)
    words = []
    for i in range(n):
        cosines = [said[t] @ z[i] / np.linalg.norm(said[t]) for t in said]
        words.append(float(int(np.argmax(cosines)) == kind[i]))
    assert abs(report.figure("right by words").value - np.mean(words)) < 1e-9
    assert report.figure("right by examples").value > 0.9
    found = {f.figure.name: f for f in report.findings()}
    assert len(found) == min(4, options.get("most", 20))
    for name, finding in found.items():
        word = name.removeprefix(f"{by} ").removesuffix(": examples less words")
        rows = [i for i in range(n) if names[kind[i]] == word]
        assert list(finding.ids) == [f"i{i:03d}" for i in rows]
        share = np.mean([words[i] for i in rows])
        assert f"{share:.0%}" in finding.said
        assert finding.p < 0.01 if word == "code 7" else finding.p > 0.05 or word == "star"
    if len(found) == 4:
        assert found[f"{by} code 7: examples less words"].examples
