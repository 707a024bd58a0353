"""`tf.data.Dataset` and its iterator: TensorFlow's names over a pipeline of stages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from collections.abc import Iterator as PythonIterator
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import optree

from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.data.arguments import declared, is_shape, per_leaf, shape_of
from tapejit.data.elements import Elements, array_of, elements_of, flattened, packing, tensors
from tapejit.data.functions import ElementFunction
from tapejit.data.grouping import Batch, GroupByWindow, PaddedBatch, Unbatch, Window
from tapejit.data.iterators import BegunIterator, Iterator, NumpyIterator
from tapejit.data.options import Options
from tapejit.data.order import Cache, Chosen, Concatenate, Repeat, Sampled, Shard, Shuffle, Skip, Take, Zip
from tapejit.data.pipeline import INFINITE, UNKNOWN, DatasetSpec, Stage
from tapejit.data.sources import Fixed, Generator, Random, Range, TensorSlice
from tapejit.data.threads import Prefetch
from tapejit.data.traced import Argument, TracedIterator, bound, handle, made, meant, passed
from tapejit.data.transform import Accumulation, Filter, FlatMap, Map, Scan, TakeWhile, Unique
from tapejit.generators import process_state
from tapejit.ir.op import thread
from tapejit.record.recorder import SymbolicTensor
from tapejit.runtime.host import cores
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.variable import Variable

AUTOTUNE = -1
_range, _zip = range, zip  # the class has methods of these names


def _workers(num_parallel_calls: Any) -> int:
    if num_parallel_calls is None:
        return 1
    count = int(num_parallel_calls)
    if count == AUTOTUNE:
        return cores()
    if count < 1:
        raise InvalidArgumentError(places.with_place(f"num_parallel_calls must be tf.data.AUTOTUNE or greater than zero, got {count}"))
    return count


def _seed(seed: Any) -> list[int]:
    return process_state(None if seed is None else int(seed)).view(np.uint64).tolist()


class Dataset:
    """A sequence of elements: tensors, or tuples, dicts and named tuples of them (`tf.data.Dataset`). Each method gives a new dataset."""

    def __init__(self, stage: Stage, options: Options | None = None) -> None:
        if not isinstance(stage, Stage):
            raise TypeError(
                "tf.data.Dataset is not made by its constructor; write tf.data.Dataset.from_tensor_slices(...), or another from_*"
            )
        self._stage, self._options = stage, options

    # ------------------------------------------------------------------------------------- sources
    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """The rows of tensors along their first axis. InvalidArgumentError (a ValueError) if they have not as many rows each."""
        late = _made_late(Dataset.from_tensor_slices, tensors, lambda x: TensorSpec(x.shape.with_rank_at_least(1)[1:], x.dtype))
        return Dataset(TensorSlice(tensors)) if late is None else late

    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """One element."""
        late = _made_late(Dataset.from_tensors, tensors, lambda x: TensorSpec(x.shape, x.dtype))
        return Dataset(Fixed.of(tensors)) if late is None else late

    @staticmethod
    def from_generator(
        generator: Callable[..., Any],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """What `generator(*args)` yields; it is called anew for each iteration.

        `output_signature` is a structure of `TensorSpec`s, or else `output_types` one of dtypes, and `output_shapes` of shapes. TypeError
        for a generator that cannot be called or without a signature.
        """
        if not callable(generator):
            raise TypeError(places.with_place("`generator` must be a Python callable."))
        if output_signature is not None:
            if output_types is not None or output_shapes is not None:
                raise TypeError(
                    places.with_place("The `output_types` and `output_shapes` arguments can not be used together with `output_signature`.")
                )
            elements = elements_of(output_signature)
        elif output_types is None:
            raise TypeError(places.with_place("Either the `output_types` or the `output_signature` argument must be given."))
        else:
            elements = declared(output_types, output_shapes)
        arguments = [] if args is None else [array_of(a)[()] for a in args]
        return Dataset(Generator(generator, elements, arguments))

    @staticmethod
    def range(*args: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Dataset:
        """Numbers as Python's `range` gives them."""
        if not 1 <= len(args) <= 3:
            raise ValueError(places.with_place(f"Invalid `args`. The length of `args` should be between 1 and 3, got {len(args)}."))
        dtype = dtypes.as_dtype(output_type)
        late = _made_late(lambda numbers: Dataset.range(*numbers, output_type=dtype), args, elements=elements_of(TensorSpec([], dtype)))
        if late is not None:
            return late
        numbers = [int(a) for a in args]
        start, stop, step = (0, numbers[0], 1) if len(numbers) == 1 else (*numbers, 1)[:3]
        return Dataset(Range(start, stop, step, dtype))

    @staticmethod
    def counter(start: int = 0, step: int = 1, dtype: Any = dtypes.int64, name: str | None = None) -> Dataset:
        """start, start + step, ... without end."""
        return Dataset(Range(int(start), None, int(step), dtypes.as_dtype(dtype)))

    @staticmethod
    def random(seed: int | None = None, rerandomize_each_iteration: bool | None = None, name: str | None = None) -> Dataset:
        """int64 numbers below 2^32, without end."""
        return Dataset(Random(_seed(seed), bool(rerandomize_each_iteration)))

    @staticmethod
    def zip(*args: Any, datasets: Any = None, name: str | None = None) -> Dataset:
        """Elements of several datasets side by side, in the structure in which these are given; as long as all have one."""
        if datasets is None:
            datasets = args[0] if len(args) == 1 else args
        leaves, tree = optree.tree_flatten(datasets)
        for d in leaves:
            if not isinstance(d, Dataset):
                raise TypeError(places.with_place(f"Invalid `datasets`. Expected a structure of `tf.data.Dataset`s, got {d!r}."))
        if not leaves or isinstance(datasets, list):
            raise TypeError(places.with_place("Invalid `datasets`. `tf.data.Dataset.zip` takes datasets, or a tuple or dict of them."))
        return Dataset(Zip([d._stage for d in leaves], tree))

    @staticmethod
    def choose_from_datasets(datasets: Sequence[Dataset], choice_dataset: Dataset, stop_on_empty_dataset: bool = True) -> Dataset:
        """From `datasets` in the order of the numbers in `choice_dataset` (int64 scalars)."""
        return Dataset(Chosen(_stages(datasets), _stages([choice_dataset])[0], stop_on_empty_dataset))

    @staticmethod
    def sample_from_datasets(
        datasets: Sequence[Dataset],
        weights: Any = None,
        seed: int | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Dataset:
        """From `datasets` at random, with probabilities in the ratio of `weights`."""
        stages = _stages(datasets)
        p = np.ones(len(stages)) if weights is None else np.asarray(weights, np.float64)
        if p.shape != (len(stages),):
            raise ValueError(
                places.with_place(f"Invalid `weights`. {len(stages)} datasets need as many weights, got shape {list(p.shape)}.")
            )
        return Dataset(Sampled(stages, p, _seed(seed), bool(rerandomize_each_iteration), stop_on_empty_dataset))

    # --------------------------------------------------------------------------- selection and order
    def _after(self, stage: Stage) -> Dataset:
        return Dataset(stage, self._options)

    def shuffle(self, buffer_size: Any, seed: Any = None, reshuffle_each_iteration: bool | None = True, name: str | None = None) -> Dataset:
        """Each element drawn from a buffer of the next `buffer_size` ones; in another order each time, unless said otherwise.

        `tf.data.UNKNOWN_CARDINALITY` as size is a buffer that holds everything.
        """
        size = sys.maxsize if int(buffer_size) == UNKNOWN else int(buffer_size)
        return self._after(Shuffle(self._stage, size, _seed(seed), reshuffle_each_iteration is not False))

    def repeat(self, count: Any = None, name: str | None = None) -> Dataset:
        """The dataset `count` times; for ever with None or -1."""
        times = None if count is None or int(count) < 0 else int(count)
        return self._after(Repeat(self._stage, times))

    def take(self, count: Any, name: str | None = None) -> Dataset:
        """The first `count` elements (all with -1)."""
        return self._after(Take(self._stage, int(count)))

    def skip(self, count: Any, name: str | None = None) -> Dataset:
        """All but the first `count` elements (none with -1)."""
        return self._after(Skip(self._stage, int(count)))

    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> Dataset:
        """Every `num_shards`th element from number `index` on."""
        return self._after(Shard(self._stage, int(num_shards), int(index)))

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """These elements, then those of `dataset`. TypeError if they are of other dtypes or structure."""
        return self._after(Concatenate(self._stage, _stages([dataset])[0]))

    def enumerate(self, start: Any = 0, name: str | None = None) -> Dataset:
        """Pairs of a number, from `start` on, and an element."""
        return self._after(Dataset.zip(Dataset.counter(int(start)), self)._stage)

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """Keeps the elements in memory. NotImplementedError for a cache in a file."""
        if filename:
            raise NotImplementedError(places.with_place("cache in a file; write .cache(), which keeps the elements in memory"))
        return self._after(Cache(self._stage))

    def prefetch(self, buffer_size: Any, name: str | None = None) -> Dataset:
        """Up to `buffer_size` elements are made in advance, by a thread."""
        size = int(buffer_size)
        return self._after(Prefetch(self._stage, 2 if size < 0 else size)) if size else self

    def unique(self, name: str | None = None) -> Dataset:
        """Each element once."""
        return self._after(Unique(self._stage))

    # ------------------------------------------------------------------------------------- grouping
    def batch(
        self,
        batch_size: Any,
        drop_remainder: bool = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """`batch_size` elements stacked along a new first axis; the last batch may be smaller, or is dropped."""
        return self._after(Batch(self._stage, int(batch_size), bool(drop_remainder)))

    def padded_batch(
        self, batch_size: Any, padded_shapes: Any = None, padding_values: Any = None, drop_remainder: bool = False, name: str | None = None
    ) -> Dataset:
        """Elements padded to one shape and stacked; None or -1 in `padded_shapes` is the largest size in the batch."""
        elements = self._stage.elements
        shapes = None if padded_shapes is None else [shape_of(s) for s in per_leaf(elements, padded_shapes, is_shape)]
        values = None
        if padding_values is not None:
            values = per_leaf(elements, padding_values, lambda v: not isinstance(v, tuple | dict), repeated=True)
        return self._after(PaddedBatch(self._stage, int(batch_size), bool(drop_remainder), shapes, values))

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of the elements as elements."""
        return self._after(Unbatch(self._stage))

    def rebatch(self, batch_size: Any, drop_remainder: bool = False, name: str | None = None) -> Dataset:
        """`unbatch().batch(...)`."""
        return self.unbatch().batch(batch_size, drop_remainder)

    def window(self, size: Any, shift: Any = None, stride: Any = 1, drop_remainder: bool = False, name: str | None = None) -> Dataset:
        """Datasets of `size` elements that lie `stride` apart; each begins `shift` (by default `size`) after the one before."""
        return self._after(Window(self._stage, int(size), int(size if shift is None else shift), int(stride), bool(drop_remainder)))

    def group_by_window(
        self,
        key_func: Callable[..., Any],
        reduce_func: Callable[..., Any],
        window_size: Any = None,
        window_size_func: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """Elements of one key gathered; `reduce_func(key, group)` gives the dataset that follows when `window_size` are there."""
        if (window_size is None) == (window_size_func is None):
            raise ValueError(places.with_place("Either the `window_size` or the `window_size_func` argument must be specified."))
        key = self._function(key_func)
        count = (lambda k: int(window_size)) if window_size_func is None else (lambda k: int(window_size_func(EagerTensor(k))))

        def reduce(k: Any, group: Stage) -> Stage:
            return _stages([reduce_func(EagerTensor(k), Dataset(group))])[0]

        return self._after(GroupByWindow(self._stage, lambda leaves: np.int64(key(leaves)[0]), reduce, count))

    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any],
        bucket_boundaries: Sequence[int],
        bucket_batch_sizes: Sequence[int],
        padded_shapes: Any = None,
        padding_values: Any = None,
        pad_to_bucket_boundary: bool = False,
        no_padding: bool = False,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Padded batches of elements of like length; one more batch size than boundaries."""
        bounds, batches = [int(b) for b in bucket_boundaries], [int(b) for b in bucket_batch_sizes]
        if len(batches) != len(bounds) + 1:
            raise ValueError(
                places.with_place(
                    f"`len(bucket_batch_sizes)` must equal `len(bucket_boundaries) + 1`, got {len(batches)} and {len(bounds)}."
                )
            )
        length = self._function(element_length_func)

        def reduce(k: Any, group: Stage) -> Stage:
            size, bucket = batches[int(k)], Dataset(group)
            if no_padding:
                return bucket.batch(size, drop_remainder)._stage
            shapes = padded_shapes
            if shapes is None:
                shapes = bucket._elements().mapped(lambda spec: spec.shape).structure
            if pad_to_bucket_boundary:
                if int(k) == len(bounds):
                    raise InvalidArgumentError(
                        f"with pad_to_bucket_boundary, elements must be shorter than the last boundary, {bounds[-1]}"
                    )
                limit = bounds[int(k)] - 1
                listed = per_leaf(bucket._elements(), shapes, is_shape)
                shapes = Elements(
                    bucket._elements().tree, tuple(TensorShape([limit if d in (None, -1) else d for d in s]) for s in listed)
                ).structure
            return bucket.padded_batch(size, shapes, padding_values, drop_remainder)._stage

        def key(leaves: Any) -> Any:
            return np.int64(np.searchsorted(bounds, int(length(leaves)[0]), side="right"))

        return self._after(GroupByWindow(self._stage, key, reduce, lambda k: batches[int(k)]))

    # ------------------------------------------------------------------------------------- functions
    def _function(self, function: Callable[..., Any], traced: bool = True, tree: Callable[[], Any] | None = None) -> ElementFunction:
        return ElementFunction(function, tree or (lambda: self._stage.tree), Dataset, _inside, traced)

    def _elements(self) -> Elements:
        return self._stage.elements

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        synchronous: bool | None = None,
        use_unbounded_threadpool: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """`map_func` of each element; a tuple is passed as several arguments. Traced once where it can be."""
        return self._after(Map(self._stage, self._function(map_func), _workers(num_parallel_calls)))

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements for which `predicate` is True."""
        return self._after(Filter(self._stage, self._function(predicate)))

    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements up to the first one for which `predicate` is False."""
        return self._after(TakeWhile(self._stage, self._function(predicate)))

    def flat_map(self, map_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """The elements of the datasets that `map_func` makes of each element."""
        return self._after(FlatMap(self._stage, self._function(map_func, traced=False)))

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: Any = None,
        block_length: Any = None,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """The same, `block_length` elements at a time from `cycle_length` datasets in turn (by default as many as there are cores)."""
        cycle = os.cpu_count() or 1 if cycle_length is None or int(cycle_length) == AUTOTUNE else int(cycle_length)
        block = 1 if block_length is None else int(block_length)
        if cycle < 1 or block < 1:
            raise InvalidArgumentError(
                places.with_place(f"cycle_length and block_length must be greater than zero, got {cycle} and {block}")
            )
        return self._after(FlatMap(self._stage, self._function(map_func, traced=False), cycle, block))

    def scan(self, initial_state: Any, scan_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """`scan_func(state, element)` gives the next state and an element."""
        return self._after(Scan(self._accumulation(initial_state, scan_func)))

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any], name: str | None = None) -> Any:
        """The state after `reduce_func(state, element)`, which gives the next one, has been called with all elements."""
        if thread.recorder is not None:
            leaves, tree = flattened(initial_state)
            return self.__tf_traced_iter__().reduce(packing(tree)([convert_to_tensor(x) for x in leaves]), reduce_func)
        accumulation = self._accumulation(initial_state, reduce_func)
        state = accumulation.state
        for new, _ in accumulation.over(self._stage):
            state = new
        return packing(accumulation.tree)(tensors(state, Dataset))

    def _accumulation(self, initial_state: Any, function: Callable[..., Any]) -> Accumulation:
        leaves, tree = flattened(initial_state)
        return Accumulation(lambda pair: self._function(function, tree=pair), tuple(array_of(x) for x in leaves), tree, self._stage)

    def apply(self, transformation_func: Callable[[Dataset], Any], name: str | None = None) -> Dataset:
        """`transformation_func` of this dataset, which must give a dataset."""
        out = transformation_func(self)
        if not isinstance(out, Dataset):
            raise TypeError(places.with_place(f"`transformation_func` must return a `tf.data.Dataset` object. Got {type(out)}."))
        return out

    # ----------------------------------------------------------------------------------- what it is
    @property
    def element_spec(self) -> Any:
        """The specs of the elements, in their structure."""
        return self._stage.elements.structure

    @property
    def _type_spec(self) -> DatasetSpec:
        return DatasetSpec(self.element_spec)

    def cardinality(self) -> Any:
        """The number of elements, an int64 scalar; `tf.data.INFINITE_CARDINALITY` or `tf.data.UNKNOWN_CARDINALITY` otherwise."""
        return EagerTensor(np.asarray(self._stage.cardinality(), np.int64))

    def __len__(self) -> int:
        count = self._stage.cardinality()
        if count == INFINITE:
            raise TypeError("The dataset is infinite.")
        if count == UNKNOWN:
            raise TypeError("The dataset length is unknown.")
        return count

    def __bool__(self) -> bool:
        return True

    def with_options(self, options: Options, name: str | None = None) -> Dataset:
        """The same dataset; options are kept and change nothing."""
        return Dataset(self._stage, self.options().merge(options))

    def options(self) -> Options:
        """The options of this dataset."""
        return Options() if self._options is None else self._options

    def get_single_element(self, name: str | None = None) -> Any:
        """The one element. InvalidArgumentError if there is none, or another one."""
        found = list(self.take(2))
        if len(found) != 1:
            raise InvalidArgumentError(places.with_place(f"Dataset {'was empty' if not found else 'had more than one element'}."))
        return found[0]

    def __iter__(self) -> Any:
        if thread.recorder is None:
            return Iterator(self._stage, Dataset)
        return BegunIterator(self.element_spec, self._made_of_this("iterator", iter))

    # ---------------------------------------------------------------------------------- in traced functions
    def __tf_traced_iter__(self) -> TracedIterator:
        """How the function being traced goes along the dataset: from its beginning, each time it runs."""
        stage = self._stage
        arguments = [s for s in stage.all() if isinstance(s, Argument)]
        known: WeakKeyDictionary[Dataset, Stage] = WeakKeyDictionary()  # shuffles go on from one run to the next

        def begin(*datasets: Dataset) -> PythonIterator[Any]:
            if datasets and (datasets[0] not in known or len(datasets) > 1):
                known[datasets[0]] = self._of(arguments, datasets)._stage
            actual = known[datasets[0]] if datasets else stage
            actual.beginning()
            return actual.each()

        return TracedIterator("dataset", begin, stage.elements, [a.handle for a in arguments])

    def __tf_handle__(self) -> tuple[Any, DatasetSpec]:
        """The number that is passed to a traced function for the dataset, and which datasets one trace serves."""
        return self._number(), _DatasetKind(self.element_spec)

    def _number(self) -> Any:
        if isinstance(self._stage, Argument):
            return self._stage.handle
        return handle(self) if thread.recorder is None else self._made_of_this("dataset", lambda dataset: dataset)

    def _made_of_this(self, name: str, make: Callable[[Dataset], Any]) -> Any:
        """While a function is traced: the number of what `make` gives, when the function runs, of this dataset."""
        arguments = [s for s in self._stage.all() if isinstance(s, Argument)]
        return passed(name, lambda *given: make(self._of(arguments, given) if given else self), [a.handle for a in arguments])

    def _of(self, arguments: Sequence[Argument], given: Sequence[Dataset]) -> Dataset:
        """This dataset with other ones in the place of arguments of the function being traced."""
        return Dataset(bound(self._stage, {id(a): d._stage for a, d in _zip(arguments, given, strict=True)}), self._options)

    def as_numpy_iterator(self) -> PythonIterator[Any]:
        """The elements with arrays in them."""
        for spec in self._stage.elements.leaves if self._stage.known else ():
            if isinstance(spec, DatasetSpec):
                raise TypeError(places.with_place("`tf.data.Dataset.as_numpy_iterator()` is not supported for datasets of datasets"))
        return NumpyIterator(self._stage)

    def __repr__(self) -> str:
        spec = self._stage.elements.structure if self._stage.known else "unknown until it is traced"
        return f"<_{type(self._stage).__name__}Dataset element_spec={spec}>"


class _DatasetKind(DatasetSpec):
    """Datasets of one element spec as arguments of traced functions."""

    def seen(self, handle: Any) -> Dataset:
        """What the function sees: a dataset that can be transformed and gone along."""
        return Dataset(Argument(elements_of(self.element_spec), handle))

    def meant(self, handle: Any) -> Any:
        """The dataset that is passed by its number."""
        return meant([handle])[0]


def _made_late(
    make: Callable[[Any], Dataset], value: Any, spec: Callable[[Any], TensorSpec] | None = None, elements: Elements | None = None
) -> Dataset | None:
    """While a function is traced: what stands for `make(value)` of symbolic tensors and variables; None if there are none in `value`.

    Its elements are `elements`, or in the structure of `value` what `spec` gives for each tensor.
    """
    leaves, tree = flattened(value)
    if thread.recorder is None or not any(isinstance(x, SymbolicTensor | Variable) for x in leaves):
        return None
    tensors = [convert_to_tensor(x) for x in leaves]
    if elements is None:
        assert spec is not None
        elements = Elements(tree, tuple(map(spec, tensors)))
    return Dataset(Argument(elements, made("tensors", lambda *given: make(optree.tree_unflatten(tree, given)), tensors)))


def _inside(x: Any) -> Stage | None:
    return x._stage if isinstance(x, Dataset) else None


def _stages(datasets: Sequence[Any]) -> list[Stage]:
    """The pipelines in datasets. TypeError for anything else."""
    if not datasets:
        raise ValueError(places.with_place("Invalid `datasets`. `datasets` should not be empty."))
    out = [_inside(d) for d in datasets]
    for d, stage in _zip(datasets, out, strict=True):
        if stage is None:
            raise TypeError(places.with_place(f"expected a tf.data.Dataset, got {d!r}"))
    return out  # type: ignore[return-value]
