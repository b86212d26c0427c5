import asyncio

import pytest

from oobcodec.aio.budget import Budget
from oobcodec.errors import LimitError


@pytest.mark.parametrize("nbytes", [0, -1])
def test_a_budget_without_a_byte_is_refused(nbytes):
    with pytest.raises(ValueError, match="max_bytes"):
        Budget(nbytes)


def test_claims_wait_and_are_granted_in_order():
    async def main():
        budget, order = Budget(10), []

        async def use(name, nbytes):
            await budget.claim(nbytes)
            order.append(name)
            await asyncio.sleep(0)
            budget.release(nbytes)

        await budget.claim(8)
        tasks = [asyncio.create_task(use(name, size)) for name, size in (("large", 9), ("small", 1), ("whole", 10))]
        await asyncio.sleep(0.01)
        assert order == []  # the small one would fit, and does not pass
        budget.release(8)
        await asyncio.wait(tasks)
        assert order == ["large", "small", "whole"]

    asyncio.run(main())


def test_what_can_never_be_is_refused_and_names_the_knob():
    with pytest.raises(LimitError, match=r"11 bytes, .* 10 bytes.*start_server\(max_bytes=\.\.\.\)"):
        asyncio.run(Budget(10).claim(11))


def test_a_cancelled_claim_is_in_nobodys_way():
    async def main():
        budget = Budget(10)
        await budget.claim(10)
        first, second = (asyncio.create_task(budget.claim(10)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        budget.release(10)  # before the first task has noticed
        await asyncio.wait_for(second, 10)
        assert first.cancelled()

    asyncio.run(main())


def test_a_claim_that_is_cancelled_when_it_was_granted_is_given_back():
    async def main():
        budget = Budget(10)
        await budget.claim(10)
        first = asyncio.create_task(budget.claim(10))
        await asyncio.sleep(0)
        budget.release(10)
        first.cancel()
        await asyncio.wait([first])
        await asyncio.wait_for(budget.claim(10), 10)

    asyncio.run(main())
