import asyncio, random, signal, time
from collections import Counter
import pytest
from tests.support import workflows
from tests.support.cluster import Cluster, until
from zart_scheduler import Client
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15, 16])
async def test_chaos(cluster: Cluster, seed: int) -> None:
    rnd = random.Random(seed)
    async with Client(cluster.url) as client:
        ws = [await cluster.worker(max_parked=rnd.choice([0, 2, 1000])) for _ in range(3)]
        handles = {}
        async def starter():
            for n in range(250):
                kind = rnd.randrange(6)
                if kind == 0: h, e = await client.start(workflows.order, workflows.Order(order_id=f"o{n}", amount=n), execution_id=f"x{n}"), None
                elif kind == 1: h, e = await client.start(workflows.branches, execution_id=f"x{n}"), [0, 11, 22]
                elif kind == 2: h, e = await client.start(workflows.siblings, execution_id=f"x{n}"), "sorry: no"
                elif kind == 3: h, e = await client.start(workflows.counting, 8, 0.05, execution_id=f"x{n}"), list(range(8))
                elif kind == 4: h, e = await client.start(workflows.pausing, 0.1, execution_id=f"x{n}"), "hi"
                else: h, e = await client.start(workflows.counting_in_threads, 5, 0.05, execution_id=f"x{n}"), list(range(5))
                handles[f"x{n}"] = (h, e, kind)
                if kind == 0: await asyncio.sleep(rnd.random()*0.1); await h.send_event("shipped", workflows.Shipment(tracking="T"))
                if kind == 4: await asyncio.sleep(rnd.random()*0.1); await h.send_event("said", "hi")
                await asyncio.sleep(rnd.random() * 0.08)
        task = asyncio.create_task(starter())
        kills = stops = cuts = 0
        while not task.done():
            await asyncio.sleep(rnd.random()*0.5)
            i = rnd.randrange(3); what = rnd.random()
            if what < 0.3:
                ws[i].kill(); kills += 1; ws[i] = await cluster.worker(wait=False, max_parked=rnd.choice([0, 2, 1000]))
            elif what < 0.5:
                w = ws[i]; w.stop(); stops += 1
                asyncio.get_running_loop().call_later(rnd.uniform(0.3, 2.5), lambda w=w: w.exit_status is None and w.cont())
            elif what < 0.6:
                ws[i].terminate(); ws[i] = await cluster.worker(wait=False)
            else:
                cuts += await cluster.disconnect(rnd.choice(["zart-writer", "zart-lease", "zart-worker", "zart-listen"]))
        await task
        t = time.monotonic()
        bad = []
        for h, e, kind in handles.values():
            try:
                r = await h.result(40)
                if e is not None and r != e: bad.append((h.execution_id, kind, r))
            except Exception as error:
                bad.append((h.execution_id, kind, repr(error)[:300]))
        print("kills", kills, "stops", stops, "cuts", cuts, "tail", time.monotonic() - t, "effects", len(cluster.effects()))
        if bad:
            print(await cluster.rows("SELECT * FROM zart_tasks"))
            print(await cluster.rows("SELECT worker_id,state,lease_expires_at-clock_timestamp() left FROM zart_workers WHERE state<>'dead'"))
        assert not bad
        # every step has one record; effects after record?
        rows = await cluster.rows("SELECT count(*) n FROM zart_tasks"); assert rows[0]["n"] == 0
        assert await cluster.value("SELECT count(*) FROM zart_waits") == 0
        assert await cluster.value("SELECT max(crash_count) FROM zart_tasks") is None
        c = Counter((x["execution"], x["step"], x.get("n")) for x in cluster.entries())
        print("max repeats", c.most_common(3))
        assert await cluster.value("SELECT count(*) FROM zart_step_attempts WHERE ident NOT LIKE '%%pay%%'") == 0
        print("attempts", await cluster.value("SELECT count(*) FROM zart_step_attempts"), "workers", await cluster.value("SELECT count(*) FROM zart_workers"))
