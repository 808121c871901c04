"""Arora et al.'s construction: a sparse network drawn at random, sampled, and recovered layer by layer from nothing but the samples.

The model (Arora, Bhaskara, Ge & Ma 2013, "Provable bounds for learning some deep representations"): layers of units that fire or not; the top layer
fires at random, every unit of it is wired to `degree` units of the layer below, for or against; a unit fires if more speaks for it than against it.

Recovery of one layer, from the firing of its lower units: units that share a parent fire together (the related pairs); a parent is a set of units that
are pairwise related and fire together all at once; whoever often fires without a known parent has one of its own; a parent fires where its children
do, unless they are explained by a stronger one; a unit that stays silent although a parent of it fires is spoken against by whoever else fires then.
The parents' firing is then the sample of the next layer. "Fire together, wire together", where it is provably right.

It works while firing is sparse (density times degree small) and samples are many. Where the conditions fail, so does the recovery.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from time import perf_counter

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from inception_viz.activations import Tick, no_tick
from inception_viz.errors import UnknownChoice
from inception_viz.measurement import Finding, Outcome, Row, allow, within
from inception_viz.text import message

MOST_UNITS, MOST_LAYERS, MOST_SAMPLES = 3000, 4, 100_000
BYTES_A_CELL = 4  # of units x samples, all layers' firing and what is made of it
SIGNS, UNIFORM = "signs", "uniform"
REGULAR, FREE = "regular", "free"
WIRINGS = {REGULAR: message("as many for as against at every unit"), FREE: message("a coin tossed for every connection")}
WEIGHTS = {SIGNS: message("plus or minus one"), UNIFORM: message("uniform from -1 to 1")}
PARTNERS = 40  # strongest of each unit that are looked at as possible siblings
PAIRS = 2000  # that are looked at together
DEVIATIONS, FEWEST = 4, 5  # of chance, and joint firings, from where on a pair is beyond it
SHARED = 0.65  # of a pair's covariance that three must share to have one parent
NEARLY, SAME = 0.8, 0.67  # shares of a family from where on it is inside another, or the same
ANSWERS, EVIDENCE = 0.65, 0.1  # how often a child answers its parent, and in which share of the parent's firings that must be seen
NEEDED = 0.3  # share of a parent's firings in which nothing else may explain a child's
ROUNDS = 1
AGREED = 3  # pairs that must propose a family at first
RARE, LONELY = 0.15, 0.6  # of a parent's usual firing, from where on unexplained firing of several, or of one alone, has a cause
HEARD = 0.95  # chance that a child fires when its parent does; the rest is spoken against
THREADS = 2
CHUNK, LEVELS = 5000, 12  # samples that are encoded at a time, and steps from the best explained parents to the barely explained
DOUBT = -1.6  # log odds down to which a parent is taken: what fires must have a cause, and better ones have been taken before
MISSED = 0.1  # chance that a child stays silent though a parent for it fires and nobody known speaks against it
SURE = 1.5  # log odds from where on a unit counts as speaking against a child
Array = np.ndarray


@dataclass(frozen=True)
class Setting:
    """A planted network: `layers` of connections between layers of `units`, `degree` children a unit, `density` of firing at the top."""

    units: int = 500
    degree: int = 6
    layers: int = 2
    density: float = 0.003
    samples: int = 10_000
    weights: str = SIGNS
    wiring: str = REGULAR
    seed: int = 0

    def checked(self) -> "Setting":
        """The same, if every number is within bounds. Raises OutOfRange, TooLarge, UnknownChoice."""
        within(message("Units a layer"), self.units, 8, MOST_UNITS)
        within(message("Connections of a unit"), self.degree, 1, self.units // 4)
        within(message("Layers of connections"), self.layers, 1, MOST_LAYERS)
        within(message("Samples"), self.samples, 10, MOST_SAMPLES)
        within(message("Share that fires at the top"), self.density, 0.0005, 0.5)
        for found, kind, allowed in (
            (self.weights, message("kind of weights"), WEIGHTS),
            (self.wiring, message("kind of wiring"), WIRINGS),
        ):
            if found not in allowed:
                raise UnknownChoice(found=found, kind=kind, allowed=", ".join(allowed))
        allow(BYTES_A_CELL * self.units * self.samples)
        return self


@dataclass(frozen=True, eq=False)
class Planted:
    """The truth: `weights` from the lowest connections up, each `(parents, children)` sparse; `firing` from the lowest layer up, `(samples, units)` bool."""

    weights: tuple[sparse.csr_array, ...]
    firing: tuple[sparse.csr_array, ...]


def _connections(setting: Setting, generator: np.random.Generator) -> sparse.csr_array:
    """Every parent with `degree` different children, every child with `degree` parents, else drawn at random.

    Regular wiring also has as many connections for as against at every unit, on both sides (one more against if `degree` is odd): for large degrees any
    random wiring comes near to that, and the theory counts on it. Free wiring tosses a coin for each: some units then speak for nobody.
    """
    units = setting.units
    children = np.empty((units, setting.degree), int)
    for place in range(setting.degree):
        new = generator.permutation(units)
        while (clash := np.flatnonzero((children[:, :place] == new[:, None]).any(1))).size:
            other = generator.integers(0, units, clash.size)
            for a, b in zip(clash, other, strict=True):
                new[a], new[b] = new[b], new[a]
        children[:, place] = new
    coins = generator.choice([-1.0, 1.0], children.shape)
    signs = np.where(np.arange(setting.degree) < setting.degree // 2, 1.0, -1.0) if setting.wiring == REGULAR else coins
    sizes = np.ones(children.shape) if setting.weights == SIGNS else generator.uniform(0, 1, children.shape)
    values = np.broadcast_to(signs, children.shape) * sizes
    return sparse.csr_array((values.ravel(), (np.repeat(np.arange(units), setting.degree), children.ravel())), shape=(units, units))


def plant(setting: Setting) -> Planted:
    """A random network of the model, and samples of all its layers. Raises OutOfRange, TooLarge, UnknownChoice."""
    generator = np.random.default_rng(setting.checked().seed)
    weights = tuple(_connections(setting, generator) for _ in range(setting.layers))
    firing = [sparse.csr_array(generator.random((setting.samples, setting.units), dtype=np.float32) < setting.density)]
    for connections in reversed(weights):
        firing.append((firing[-1].astype(np.float32) @ connections.astype(np.float32) > 0).tocsr())
    return Planted(weights, tuple(reversed(firing)))


def cofiring(firing: sparse.csr_array) -> Array:
    """How often each pair of units fires in one sample, `(units, units)` int, from `(samples, units)`."""
    counts = firing.astype(np.int32)
    return (counts.T @ counts).toarray()


def related(together: Array, samples: int) -> Array:
    """Pairs that may share a parent, `(pairs, 2)` int: each unit's PARTNERS strongest, as far as they are beyond chance.

    Strong is how much more often a unit's partner fires when it does than otherwise. Cousins, who share a grandparent, fire together too, but less than
    most siblings.
    """
    often = np.diag(together).astype(np.float64)
    chance = np.outer(often, often) / samples
    excess = together - chance
    strong = np.where(excess > np.maximum(DEVIATIONS * np.sqrt(chance), FEWEST), excess, 0)
    np.fill_diagonal(strong, 0)
    few = min(PARTNERS, len(strong) - 1)
    least = -np.partition(-strong, few - 1, axis=1)[:, [few - 1]]
    chosen = (strong > 0) & (strong >= least)
    return np.argwhere(np.triu(chosen | chosen.T, 1))


def families(firing: sparse.csr_array, together: Array, pairs: Array, tick: Tick = no_tick) -> Counter[frozenset[int]]:
    """Sets of units that may have a parent in common, and how many pairs propose each.

    A pair proposes itself and all who fire with both as if for the same reason: their third cumulant (joint firing of three beyond what pairs explain) is
    at least SHARED of the pair's covariance. For three children of one parent both are that parent's rate of firing.
    """
    samples = firing.shape[0]
    rate = np.diag(together) / samples
    fires = firing.astype(np.float32)
    columns = fires.T.tocsr()
    proposed: Counter[frozenset[int]] = Counter()
    for some in np.split(pairs, range(PAIRS, len(pairs), PAIRS)):
        tick()
        a, b = some.T
        three = (columns[a].multiply(columns[b]).tocsr() @ fires).toarray()
        two = together[a, b][:, None]
        pure = three - two * rate - together[a] * rate[b][:, None] - together[b] * rate[a][:, None]
        pure += 2 * samples * (rate[a] * rate[b])[:, None] * rate
        covariance = two - samples * (rate[a] * rate[b])[:, None]
        joins = pure >= SHARED * covariance
        joins[np.arange(len(some)), a] = joins[np.arange(len(some)), b] = True
        proposed.update(frozenset(np.flatnonzero(row).tolist()) for row in joins)
    return proposed


def distinct(proposed: Counter[frozenset[int]], least: int) -> list[frozenset[int]]:
    """Families that at least `least` pairs propose, without repetition: what most of its own pairs propose comes first, who comes later must differ.

    A parent that fires for one reason only fires whenever its siblings by that reason do, and its family seems to hold theirs: it is what is left of it
    without them. Equally good families are treated alike, so that the units' numbers don't matter.
    """

    def support(family: frozenset[int]) -> float:
        size = len(family)
        return 2 * proposed[family] / (size * (size - 1))

    taken: list[frozenset[int]] = []
    of_unit: dict[int, list[frozenset[int]]] = {}
    ranked: dict[tuple[float, int], list[frozenset[int]]] = {}
    for family, votes in proposed.items():
        if votes >= least:
            ranked.setdefault((min(1.0, support(family)), votes), []).append(family)
    for rank in sorted(ranked, reverse=True):
        new = []
        for family in ranked[rank]:
            rivals = {other for unit in family for other in of_unit.get(unit, [])}
            rest = family.difference(*(other for other in rivals if len(other & family) >= NEARLY * len(other)))
            if len(rest) >= 2 and not any(len(other & rest) >= SAME * min(len(other), len(rest)) for other in rivals):
                new.append(rest)
        for family in dict.fromkeys(new):
            taken.append(family)
            for unit in family:
                of_unit.setdefault(unit, []).append(family)
    return taken


@dataclass(frozen=True, eq=False)
class Layer:
    """Recovered connections of one layer: who speaks for whom, against whom, both `(parents, children)` bool, and their `firing` (samples, parents)."""

    positive: sparse.csr_array
    negative: sparse.csr_array
    firing: sparse.csr_array
    related_pairs: int
    seconds: float


def _membership(sets: Sequence[frozenset[int]], units: int) -> sparse.csr_array:
    rows = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
    columns = np.array([unit for s in sets for unit in sorted(s)], dtype=int)
    return sparse.csr_array((np.ones(len(columns), bool), (rows, columns)), shape=(len(sets), units))


@dataclass(frozen=True, eq=False)
class Encoded:
    """Which parents fire, `firing` (samples, parents) bool, and what their own children say of it, both `(parents, children)`.

    `chances` counts where a parent fires by the word of its *other* children while nobody else speaks for this one; `answered` where this one fires too;
    `needed` where it fires and no better parent has spoken for this one.
    """

    firing: sparse.csr_array
    needed: sparse.csr_array
    chances: sparse.csr_array
    answered: sparse.csr_array


def encode(
    firing: sparse.csr_array, positive: sparse.csr_array, negative: sparse.csr_array | None, density: float, tick: Tick = no_tick
) -> Encoded:
    """Which parents fire in each sample: those whose children fire, as Bayes' rule weighs it.

    A child that fires speaks for its parent (by log HEARD / its rate), one that does not speaks against it, and a parent is rare to begin with
    (`density`). The best explained ones are taken first, and what they explain counts for nobody else: the paper's threshold on the share of children
    that fire, made fit for parents with few children. A second look excuses children that a parent found firing at the first is known to speak against.
    """
    rate = np.asarray(firing.mean(0)).ravel()
    for_it = np.log(HEARD / np.clip(rate, 1e-6, HEARD / 2))
    against_it = float(np.log((1 - HEARD) / (1 - min(rate.mean(), 0.5))))
    rare = float(np.log(density / (1 - density)))
    only = positive.indices[np.minimum(positive.indptr[:-1], max(len(positive.indices) - 1, 0))]
    prior = np.where(
        np.diff(positive.indptr) == 1, DOUBT + 0.01 - for_it[only], rare
    )  # the parent of one child is the cause of what is left at last

    def part(start: int) -> Encoded:
        return _encoded(firing[start : start + CHUNK], positive, negative, for_it, against_it, prior)

    parts = []
    with ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(part, range(0, firing.shape[0], CHUNK)):
            tick()
            parts.append(done)
    sums = {name: sum((getattr(p, name) for p in parts[1:]), getattr(parts[0], name)) for name in ("needed", "chances", "answered")}
    return Encoded(sparse.vstack([part.firing for part in parts], format="csr"), **sums)


def _encoded(
    firing: sparse.csr_array, positive: sparse.csr_array, negative: sparse.csr_array | None, for_it: Array, against_it: float, prior: Array
) -> Encoded:
    speaks = (positive.astype(np.float32) * (for_it - against_it).astype(np.float32)).T.tocsr()  # (children, parents)
    best = (firing.astype(np.float32) @ speaks).tocoo()  # as if nothing were explained
    sizes = np.diff(positive.indptr)
    excuses = 2 if negative is not None else 1
    hopeful = best.data + against_it * (sizes[best.coords[1]] - excuses) + prior[best.coords[1]] > DOUBT
    sample, parent = best.coords[0][hopeful], best.coords[1][hopeful]
    count = sizes[parent]
    which = np.repeat(np.arange(len(parent)), count)  # a row for each child of each parent that may fire
    child = positive.indices[
        np.repeat(positive.indptr[parent], count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    ]
    place = sample[which], child
    heard = firing.toarray()[place]
    silent = against_it * ~heard
    shape = firing.shape[0], positive.shape[0]

    highest = float((positive.astype(np.float64) @ (for_it - against_it)).max(initial=0))

    def take(silent: Array) -> tuple[Array, Array, Array, Array]:
        taken, told, drives = np.zeros(len(parent), bool), np.zeros(len(parent)), np.zeros(firing.shape, np.uint8)
        needed = np.zeros(len(which), bool)
        for level in np.linspace(highest, DOUBT, LEVELS):
            says = np.where(heard & (drives[place] == 0), for_it[child], silent)
            told = np.where(taken, told, np.bincount(which, says, len(parent)) + prior[parent])
            new = ~taken & (told > level)
            taken |= new
            needed |= new[which] & (drives[place] == 0)  # at that moment: of two that say the same, the better one is needed
            np.add.at(drives, (place[0][new[which]], place[1][new[which]]), 1)
        return taken, told, drives, needed

    taken, told, drives, needed = take(silent)
    if negative is not None:
        fires = sparse.csr_array((np.ones(int(taken.sum()), np.float32), (sample[taken], parent[taken])), shape=shape)
        silent = np.where((fires @ negative.astype(np.float32)).toarray()[place] > 0, 0, silent)
        taken, told, drives, needed = take(silent)
    alone = drives[place] == taken[which]  # nobody else speaks for this child
    by_others = alone & (told[which] - np.where(heard, for_it[child], silent) > 0)
    edges = parent[which], child
    fired = sparse.csr_array((np.ones(int(taken.sum()), bool), (sample[taken], parent[taken])), shape=shape)
    shape = positive.shape
    return Encoded(
        fired,
        sparse.csr_array((needed.astype(np.int32), edges), shape=shape),
        sparse.csr_array((by_others.astype(np.int32), edges), shape=shape),
        sparse.csr_array(((by_others & heard).astype(np.int32), edges), shape=shape),
    )


def settled(firing: sparse.csr_array, positive: sparse.csr_array, encoded: Encoded, density: float) -> sparse.csr_array:
    """The families as their firing shows them: who fires with a parent when none of its other parents does, `(parents, children)` bool.

    A child has no say in whether its parent fires when it is itself on trial: a small family would always confirm itself.
    """
    fires, heard = encoded.firing.astype(np.float32), firing.astype(np.float32)
    driven = (fires @ positive.astype(np.float32)).tocsr()
    driven.data[:] = 1
    often = np.asarray(fires.sum(0)).reshape(-1, 1)
    member = positive.toarray()
    chances = np.where(member, encoded.chances.toarray(), often - (fires.T @ driven).toarray())
    answered = np.where(member, encoded.answered.toarray(), (fires.T @ (heard - heard.multiply(driven))).toarray())
    joins = ~member & (answered >= ANSWERS * chances) & (chances >= np.maximum(FEWEST, EVIDENCE * often))
    stays = member & ((answered >= ANSWERS * chances) | (chances < FEWEST)) & (encoded.needed.toarray() >= NEEDED * often)
    return sparse.csr_array((joins | stays) & (often >= max(FEWEST, RARE * density * firing.shape[0])))


def unexplained(firing: sparse.csr_array, positive: sparse.csr_array, parents: sparse.csr_array) -> sparse.csr_array:
    """The firing that no known parent accounts for, `(samples, units)` bool."""
    driven = (parents.astype(np.float32) @ positive.astype(np.float32)) > 0
    rest = (firing.astype(np.int8) - firing.multiply(driven).astype(np.int8)).tocsr()
    rest.eliminate_zeros()
    return rest.astype(bool)


def overlooked(rest: sparse.csr_array, positive: sparse.csr_array, density: float, tick: Tick = no_tick) -> list[frozenset[int]]:
    """Families that the unexplained firing `rest` shows, as far as they join units that no known family joins and fire at least RARE times as often."""
    together, samples = cofiring(rest), rest.shape[0]
    known = (positive.astype(np.int32).T @ positive.astype(np.int32)).toarray() > 0
    pairs = related(together, samples)
    pairs = pairs[~known[tuple(pairs.T)] & (together[tuple(pairs.T)] > RARE * density * samples)]
    return distinct(families(rest, together, pairs, tick), 1)


def loners(rest: sparse.csr_array, density: float) -> list[frozenset[int]]:
    """Units whose unexplained firing `rest` is about as frequent as a parent's: each has a parent with no other child."""
    alone = np.asarray(rest.astype(np.int32).sum(0)).ravel()
    return [frozenset([int(unit)]) for unit in np.flatnonzero(alone > max(FEWEST, LONELY * density * rest.shape[0]))]


def speak_against(firing: sparse.csr_array, positive: sparse.csr_array, parents: sparse.csr_array) -> sparse.csr_array:
    """Who speaks against whom, `(parents, children)` bool: the child stays silent in most samples in which that parent and one for it fire.

    It takes joint firings of two parents, which are rare: in upper layers mostly too rare to tell.
    """
    fires, speaks = parents.astype(np.int32), positive.astype(np.int32)
    driven = ((fires @ speaks) > 0).astype(np.int32)
    chances = (fires.T @ driven).toarray()
    answered = (fires.T @ driven.multiply(firing)).toarray()
    silent = chances - answered
    evidence = silent * np.log(HEARD / MISSED) + answered * np.log((1 - HEARD) / (1 - MISSED))  # log likelihood ratio
    known = (evidence > SURE + np.log(len(answered.T))) & ~positive.toarray()  # a unit is one of few that speak against a child
    return sparse.csr_array(known)


def recover_layer(firing: sparse.csr_array, tick: Tick = no_tick) -> Layer:
    """One layer's connections from how its lower units fire, `(samples, units)`.

    First families that several pairs agree on; then, in the firing that those leave unexplained, those of two, and at last of one.
    """
    started = perf_counter()
    samples, units = firing.shape
    together = cofiring(firing)
    pairs = related(together, samples)
    found = distinct(families(firing, together, pairs, tick), AGREED)
    density = _density(together, found, samples)
    positive, negative = _membership(found, units), None
    for round_ in range(ROUNDS + 1):
        encoded = encode(firing, positive, negative, density, tick)
        rest = unexplained(firing, positive, encoded.firing)
        positive = _different(settled(firing, positive, encoded, density))
        more = overlooked(rest, positive, density, tick) if round_ < ROUNDS else loners(rest, density) if found else []
        positive = _different(sparse.vstack([positive, _membership(more, units)], format="csr"))
        negative = speak_against(firing, positive, encode(firing, positive, None, density, tick).firing)
    positive, fires = _firing(positive, encode(firing, positive, negative, density, tick).firing, RARE * density * samples)
    return Layer(positive, speak_against(firing, positive, fires), fires, len(pairs), perf_counter() - started)


def _firing(positive: sparse.csr_array, fires: sparse.csr_array, least: float) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Only the parents that fire at least so often."""
    kept = np.flatnonzero(np.asarray(fires.sum(0)).ravel() >= least)
    return positive[kept], fires[:, kept]


def _different(positive: sparse.csr_array) -> sparse.csr_array:
    """Without empty and repeated families, and without those that are nothing but smaller ones together: these fire at once by a common grandparent."""
    sets = [family for row in positive if (family := frozenset(row.nonzero()[-1].tolist()))]
    of_unit: dict[int, set[frozenset[int]]] = {}
    for family in sets:
        for unit in family:
            of_unit.setdefault(unit, set()).add(family)

    def parts(family: frozenset[int]) -> frozenset[int]:
        inside = {other for unit in family for other in of_unit[unit] if len(other) > 1 and other < family}
        return frozenset().union(*inside)

    return _membership([family for family in dict.fromkeys(sets) if parts(family) != family], positive.shape[1])


def _density(together: Array, found: Sequence[frozenset[int]], samples: int) -> float:
    """How often a parent fires: about as often as two of its children do at once beyond chance."""
    excess = [together[a, b] - together[a, a] * together[b, b] / samples for family in found for a, b in combinations(family, 2)]
    return float(np.clip(np.median(excess) / samples / HEARD**2, 1e-6, 0.4)) if excess else 0.01


def recover(firing: sparse.csr_array, layers: int, tick: Tick = no_tick) -> Iterator[Layer]:
    """The layers above the samples `(samples, units)`, from the lowest up; ends early where nothing is found."""
    for _ in range(layers):
        layer = recover_layer(firing, tick)
        yield layer
        firing = layer.firing
        if not firing.shape[1]:
            return


@dataclass(frozen=True, eq=False)
class Score:
    """How a recovered layer compares to the planted one; precision and recall of edges, nan where there are none to speak of.

    `exact` is the share of children whose parents for them are found exactly; `parents` says how many were found of how many that speak for anyone.
    `match` (recovered,) int is the planted parent that each recovered one stands for, -1 for none.
    """

    positive_precision: float
    positive_recall: float
    negative_precision: float
    negative_recall: float
    exact: float
    found: int
    planted: int
    match: Array


def _match(recovered: sparse.csr_array, planted: sparse.csr_array) -> Array:
    """Each recovered parent's counterpart with the most children in common beyond those that differ (Hungarian); -1 for none."""
    shared = (recovered.astype(np.int32) @ planted.astype(np.int32).T).toarray()
    if not shared.size:
        return np.full(recovered.shape[0], -1)
    union = np.asarray(recovered.sum(1)).reshape(-1, 1) + np.asarray(planted.sum(1)).reshape(1, -1) - shared
    rows, columns = linear_sum_assignment(-(shared / np.maximum(union, 1)))
    match = np.full(recovered.shape[0], -1)
    match[rows] = np.where(shared[rows, columns] > 0, columns, -1)
    return match


def _placed(edges: sparse.csr_array, parents: Array, children: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Recovered edges with the planted numbers of both ends, `shape` bool, and for each planted child how many more have no such parent, `(children + 1,)`.

    The last count is that of edges without such a child.
    """
    rows, columns = edges.nonzero()
    known = (parents[rows] >= 0) & (children[columns] >= 0)
    placed = np.zeros(shape, bool)
    placed[parents[rows[known]], children[columns[known]]] = True
    return placed, np.bincount(children[columns[~known]] % (shape[1] + 1), minlength=shape[1] + 1)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def score(layer: Layer, weights: sparse.csr_array, children: Array) -> Score:
    """A recovered layer against the planted `weights` (parents, units); `children` is what each of the layer's lower units stands for, the lower match."""
    planted = weights.toarray()
    lower = np.zeros((layer.positive.shape[1], weights.shape[1]), np.int32)
    known = children >= 0
    lower[np.flatnonzero(known), children[known]] = 1
    match = _match(sparse.csr_array(layer.positive.astype(np.int32) @ lower), sparse.csr_array(planted > 0))
    positive, astray = _placed(layer.positive, match, children, planted.shape)
    negative, lost = _placed(layer.negative, match, children, planted.shape)
    right, wrong = positive & (planted > 0), negative & (planted < 0)
    return Score(
        _share(int(right.sum()), int(positive.sum() + astray.sum())),
        _share(int(right.sum()), int((planted > 0).sum())),
        _share(int(wrong.sum()), int(negative.sum() + lost.sum())),
        _share(int(wrong.sum()), int((planted < 0).sum())),
        float(((positive == (planted > 0)).all(0) & (astray[:-1] == 0)).mean()),
        layer.positive.shape[0],
        int((planted > 0).any(1).sum()),
        match,
    )


@dataclass(frozen=True, eq=False)
class Recovery:
    """A planted network, what was recovered from samples of its lowest layer, and how the two compare, each from the lowest layer up."""

    setting: Setting
    planted: Planted
    layers: tuple[Layer, ...]
    scores: tuple[Score, ...]


def scored(setting: Setting, planted: Planted, layers: Sequence[Layer]) -> Recovery:
    """The recovered layers beside the planted ones; recovered units are matched to planted ones from the lowest layer up."""
    children, scores = np.arange(setting.units), []
    for layer, weights in zip(layers, planted.weights, strict=False):
        scores.append(score(layer, weights, children))
        children = scores[-1].match
    return Recovery(setting, planted, tuple(layers), tuple(scores))


def experiment(setting: Setting, tick: Tick = no_tick) -> Recovery:
    """Plant, sample, recover from the lowest layer alone, and compare. Raises OutOfRange, TooLarge, UnknownChoice."""
    planted = plant(setting)
    return scored(setting, planted, tuple(recover(planted.firing[0], setting.layers, tick)))


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A few parents and all children that they have in either network: edges `(parent, child) -> sign`, both by planted numbers."""

    parents: tuple[int, ...]
    children: tuple[int, ...]
    planted: Mapping[tuple[int, int], int]
    recovered: Mapping[tuple[int, int], int]


def neighbourhood(found: Recovery, layer: int, parent: int, most: int = 6) -> Neighbourhood:
    """A planted parent with those that share a child with it, as planted and as recovered; recovered units that stand for nobody are left out."""
    planted, recovered = found.planted.weights[layer], found.layers[layer]
    children = np.arange(planted.shape[1]) if layer == 0 else found.scores[layer - 1].match
    match = found.scores[layer].match
    speaks = (planted > 0).astype(np.int32)
    near = np.asarray((speaks @ speaks[[parent]].T).todense()).ravel()
    near[parent] = planted.shape[1]
    chosen = np.argsort(-near, kind="stable")[:most]
    chosen = np.array([parent, *(p for p in chosen if near[p] and p != parent)])

    def signs(edges: sparse.csr_array, sign: int, rows: Array, columns: Array) -> dict[tuple[int, int], int]:
        found_rows, found_columns = edges.nonzero()
        pairs = zip(rows[found_rows].tolist(), columns[found_columns].tolist(), strict=True)
        return {(p, c): sign for p, c in pairs if p in wanted and c >= 0}

    wanted, every = set(chosen.tolist()), np.arange(planted.shape[1])
    truth = signs(planted > 0, 1, every, every) | signs(planted < 0, -1, every, every)
    told = signs(recovered.positive, 1, match, children) | signs(recovered.negative, -1, match, children)
    shown = sorted({c for _, c in truth} | {c for _, c in told})
    return Neighbourhood(tuple(chosen.tolist()), tuple(shown), truth, told)


def f1(precision: float, recall: float) -> float:
    """The harmonic mean of precision and recall; 0 where either is undefined."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Border:
    """Where recovery ends: F1 of positive edges, the worst layer's, `(densities, samples)`, mean over `seeds` planted networks each."""

    setting: Setting
    densities: tuple[float, ...]
    samples: tuple[int, ...]
    seeds: int
    f1: Array


def border(setting: Setting, densities: Sequence[float], samples: Sequence[int], seeds: int = 2) -> Generator[float, None, Border]:
    """Recover networks at every density and number of samples, yielding the share done. Raises OutOfRange, TooLarge."""
    found = np.zeros((len(densities), len(samples), seeds))
    for done, (i, j, seed) in enumerate(np.ndindex(*found.shape)):
        yield done / found.size
        one = experiment(replace(setting, density=densities[i], samples=samples[j], seed=setting.seed + seed))
        scores = [f1(s.positive_precision, s.positive_recall) for s in one.scores]
        found[i, j, seed] = min(scores) if len(scores) == setting.layers else 0.0
    return Border(setting, tuple(densities), tuple(samples), seeds, np.nan_to_num(found).mean(2))


GOOD = 0.97


def rows(found: Recovery) -> tuple[Row, ...]:
    """One row a layer, from the lowest up: the setting, precision and recall (shares), exact parent sets (share), seconds."""
    return tuple(
        {
            "layer": number, "units": found.setting.units, "degree": found.setting.degree, "density_at_the_top": found.setting.density,
            "samples": found.setting.samples, "weights": found.setting.weights,
            "wiring": found.setting.wiring, "seed": found.setting.seed,
            "positive_precision": score.positive_precision, "positive_recall": score.positive_recall,
            "negative_precision": score.negative_precision, "negative_recall": score.negative_recall,
            "exact_parent_sets": score.exact, "parents_found": score.found, "parents_planted": score.planted, "seconds": layer.seconds,
        }
        for number, (layer, score) in enumerate(zip(found.layers, found.scores, strict=True), start=1)
    )  # fmt: skip


def outcome(found: Recovery) -> Outcome:
    """What the recovery says about the claim that correlations suffice."""
    worst = min((min(s.positive_precision, s.positive_recall) for s in found.scores), default=0.0)
    lost = len(found.scores) < found.setting.layers or not worst >= 0  # nan: nothing was found
    claim = message("If the network is sparse and random enough, its layers can be rebuilt one by one from how their units fire together.")
    words = message(
        "of {layers} layers of positive connections the worst has precision and recall of at least {worst}, from {samples} samples."
    )
    told = Finding(
        claim,
        words,
        bool(not lost and worst >= GOOD),
        {"layers": found.setting.layers, "worst": f"{0 if lost else worst:.1%}", "samples": f"{found.setting.samples:,}"},
    )
    return Outcome((told,), rows(found))
