"""Alignments, candidates, families and the splits that follow from them."""

from itertools import combinations

import gemmi
import numpy as np
import pytest

from tests.simulate.structure_files import mutated, random_sequence
from vitreous.simulate.corpus import AMINO_ACIDS
from vitreous.simulate.families import distinct_chains, find_families, homologous_structures, split_families
from vitreous.simulate.homology import HomologyRule, align, best_scores, homologues
from vitreous.simulate.polymers import residue_code
from vitreous.simulate.sequence_candidates import candidates, similar_words
from vitreous.simulate.substitution import NUCLEIC, PROTEIN

RULE = HomologyRule()
WATSON_CRICK = "ACGU"


def protein(text: str) -> np.ndarray:
    return np.array([residue_code(gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA)) for letter in text], np.uint8)


def rna(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 24, n).astype(np.uint8)


def reference_score(a: np.ndarray, b: np.ndarray) -> int:
    """Smith and Waterman with every gap length tried, straight from the definition."""
    h = np.zeros((len(a) + 1, len(b) + 1), int)
    cost = 11 + np.arange(1, max(h.shape) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            down = (h[i - 1 :: -1, j][:i] - cost[:i]).max()
            along = (h[i, j - 1 :: -1][:j] - cost[:j]).max()
            h[i, j] = max(0, h[i - 1, j - 1] + PROTEIN.matrix[a[i - 1], b[j - 1]], down, along)
    return int(h.max())


def test_scores_are_blosum62():
    """A pair between strong flanks adds its own score to gemmi's alignment."""
    scoring, flank = gemmi.AlignmentScoring("b"), ["TRP"] * 3
    for i, first in enumerate(AMINO_ACIDS):
        for j, second in enumerate(AMINO_ACIDS):
            found = gemmi.align_string_sequences([*flank, first, *flank], [*flank, second, *flank], [], scoring)
            assert found.score - 6 * 11 == PROTEIN.matrix[i, j]


def test_alignment_has_the_best_score_of_all():
    whole = random_sequence(40, 0)
    others = [random_sequence(30, 1), mutated(whole, 0.5, 2)[5:35], whole[:12] + random_sequence(9, 3) + whole[16:]]
    for other in others:
        a, b = protein(whole), protein(other)
        assert align(a, b).score == reference_score(a, b)
        assert best_scores(a, [b, b[:20]]).tolist() == [reference_score(a, b), reference_score(a, b[:20])]


def test_many_scores_at_once_are_the_single_ones():
    query = protein(random_sequence(70, 0))
    others = [protein(random_sequence(20 + 3 * k, k + 1)) for k in range(20)] + [query[10:50]]
    assert best_scores(query, others).tolist() == [align(query, other).score for other in others]


def test_identity_is_that_of_the_mutation():
    text = random_sequence(400, 0)
    for identity in (0.9, 0.6, 0.4):
        found = align(protein(text), protein(mutated(text, identity, 1)))
        assert found.identity == pytest.approx(identity, abs=0.03)
        assert found.aligned > 370
    insert = align(protein(text), protein(text[:200] + "GGGGG" + text[200:]))
    assert (insert.identical, insert.aligned) == (400, 400)


def test_chance_scores_follow_karlin_and_altschul():
    """E counts chance alignments: among 2,000 random pairs about 2,000 · E reach a score."""
    generator = np.random.default_rng(0)
    frequencies = np.array([8, 5, 4, 5, 1, 4, 6, 7, 2, 6, 10, 6, 2, 4, 5, 7, 5, 1, 3, 7], float)  # of natural proteins
    texts = generator.choice(20, (101, 250), p=frequencies / frequencies.sum()).astype(np.uint8)
    scores = np.concatenate([best_scores(text, list(texts[k + 1 :])) for k, text in enumerate(texts[:20])])
    for score in (40, 44):
        expected = PROTEIN.expected_by_chance(score, 250, 250)
        assert (scores >= score).mean() == pytest.approx(1 - np.exp(-expected), rel=0.5)
    least = PROTEIN.least_score(1e-6, 250, np.array([250]))[0]
    assert PROTEIN.expected_by_chance(round(least), 250, 250) == pytest.approx(1e-6, rel=0.2)


def test_similar_words_score_eleven_and_hold_strong_words():
    offsets, words = similar_words()
    word = (AMINO_ACIDS.index("TRP") * 20 + AMINO_ACIDS.index("CYS")) * 20 + AMINO_ACIDS.index("ALA")
    found = words[offsets[word] : offsets[word + 1]]
    assert word in found
    letters = np.stack([found // 400, found // 20 % 20, found % 20])
    mine = np.array([word // 400, word // 20 % 20, word % 20])
    assert PROTEIN.matrix[letters, mine[:, None]].sum(0).min() == 11
    assert len(words) / 8000 == pytest.approx(34, abs=1)


def test_candidates_miss_no_homologue():
    parents = [random_sequence(120, k) for k in range(12)]
    texts = [text for k, p in enumerate(parents) for text in (p, mutated(p, 0.38, k), mutated(p, 0.45, 99 + k)[20:100])]
    chains = [protein(text) for text in texts]
    found = {(i, int(j)) for i, js in enumerate(candidates(chains, None, PROTEIN, 38)) for j in js}
    truth = {(i, j) for i, j in combinations(range(36), 2) if align(chains[i], chains[j]).shows_homology(RULE)}
    assert len(truth) > 12
    assert truth <= found
    assert len(found) < 0.3 * 36 * 35 / 2


def test_shared_domain_makes_homologues_of_unlike_chains():
    domain = random_sequence(100, 0)
    first = protein(domain + random_sequence(300, 1))
    second = protein(random_sequence(300, 2) + mutated(domain, 0.6, 3))
    short = protein(random_sequence(300, 2) + domain[:40])
    assert homologues(first, [second, short], RULE).tolist() == [0]


def test_short_and_unknown_chains_are_not_compared():
    unknown = np.full(50, residue_code("UNK"), np.uint8)
    proteins, nucleic = distinct_chains([(0, protein("ACDEF")), (0, unknown), (1, rna(40, 0)), (2, rna(10, 1))], RULE)
    assert proteins.sequences == []
    assert nucleic.structures == [[1]]


def test_families_join_structures_along_chains():
    a, b, c, d = (random_sequence(100, k) for k in range(4))
    nucleic = rna(90, 0)
    chains = [
        *[(0, protein(a)), (1, protein(mutated(a, 0.5, 0))), (1, protein(b))],
        *[(2, protein(mutated(b, 0.5, 1))), (3, protein(c)), (4, protein(d))],
        *[(3, nucleic), (5, nucleic[5:80]), (5, protein(random_sequence(100, 5)))],
    ]
    family = find_families(6, chains, RULE)
    assert family[0] == family[1] == family[2]
    assert family[3] == family[5]
    assert len({family[0], family[3], family[4]}) == 3


def test_dna_and_rna_of_one_text_are_homologous():
    text = rna(60, 0)
    family = find_families(2, [(0, text), (1, (text + 4).astype(np.uint8))], RULE)
    assert family[0] == family[1]
    assert not align(text - 20, rna(60, 1) - 20, NUCLEIC).shows_homology(RULE, NUCLEIC)


def test_excluded_homologues_are_found_in_either_kind():
    text, nucleic = random_sequence(150, 0), rna(80, 0)
    chains = [(0, protein(random_sequence(150, 1))), (1, protein(mutated(text, 0.45, 2))), (2, nucleic)]
    assert homologous_structures(chains, [protein(text)], RULE) == {1}
    assert homologous_structures(chains, [nucleic[10:70]], RULE) == {2}
    assert homologous_structures(chains, [], RULE) == set()


def test_splits_keep_families_together_and_have_their_shares():
    family = np.repeat(np.arange(401), [800, *[4] * 300, *[1] * 100]).astype(np.int32)
    split = split_families(family, seed=1)
    assert all(len(set(split[family == k])) == 1 for k in range(401))
    assert split[0] == 0  # the giant family
    shares = np.bincount(split, minlength=3) / len(family)
    np.testing.assert_allclose(shares, [0.90, 0.03, 0.07], atol=0.005)
    np.testing.assert_array_equal(split, split_families(family, seed=1))


def test_no_test_chain_is_homologous_to_a_training_chain():
    """All pairs are aligned, whatever the search for candidates found."""
    parents = [random_sequence(110, k) for k in range(40)]
    chains = [(i, protein(mutated(parents[i % 40], 0.35 + 0.004 * i, i))) for i in range(120)]
    split = split_families(find_families(120, chains, RULE))
    assert (np.bincount(split, minlength=3) > 0).all()
    tested = [codes for i, codes in chains if split[i] == 2]
    trained = [codes for i, codes in chains if split[i] != 2]
    assert all(len(homologues(codes, trained, RULE)) == 0 for codes in tested)
