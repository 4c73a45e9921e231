"""One rule says when compiling pays."""

import math

from molequi.kernels import policy
from molequi.kernels.policy import worthwhile_kernels, worthwhile_on_gpu


def test_more_work_is_worth_more_compiling() -> None:
    assert worthwhile_kernels(0.0) == "reference"
    assert worthwhile_kernels(policy.GENERIC_FROM * 0.99) == "reference"
    assert worthwhile_kernels(policy.GENERIC_FROM) == "generic"
    assert worthwhile_kernels(policy.SPECIALIZED_FROM * 0.99) == "generic"
    assert worthwhile_kernels(policy.SPECIALIZED_FROM) == "specialized"
    assert worthwhile_kernels(math.inf) == "specialized"


def test_a_limit_of_time_is_a_limit_of_work() -> None:
    assert worthwhile_kernels(1e15, minutes=0.1) == "reference"
    assert worthwhile_kernels(1e15, minutes=1.0) == "generic"
    assert worthwhile_kernels(1e15, minutes=5.0) == "specialized"
    assert worthwhile_kernels(1.0, minutes=5.0) == "reference"


def test_a_pass_that_plain_torch_has_no_memory_for_gets_kernels_at_once() -> None:
    largest = policy.LARGEST_PLAIN_PASS
    assert worthwhile_kernels(largest, in_one_pass=largest) == "reference"
    assert worthwhile_kernels(largest, in_one_pass=1.01 * largest) == "generic"
    assert worthwhile_kernels(1e15, in_one_pass=1.01 * largest) == "specialized"


def test_a_gpu_gets_kernels_for_much_work_or_a_large_pass_where_tables_are_small() -> None:
    most, enough = policy.MOST_TERMS, policy.TRITON_FROM
    assert worthwhile_on_gpu(0.99 * enough, n_terms=most) == "reference"
    assert worthwhile_on_gpu(enough, n_terms=most) == "triton"
    assert worthwhile_on_gpu(enough, n_terms=most + 1) == "reference"
    large = 1.01 * policy.LARGEST_PLAIN_PASS
    assert worthwhile_on_gpu(large, n_terms=most, in_one_pass=large) == "triton"
    assert worthwhile_on_gpu(large, n_terms=most + 1, in_one_pass=large) == "reference"
