-- release_worker: delete a worker's residency and place its requests again; attempts + 1 for those that ran.
-- One call does a bounded part; `release` does the rest, or `reap` when that process has died. Until then the worker
-- has no record, so that no epoch is right, and a lease that is over (0): nothing is placed there.
local release_worker, is_released
do
  local ENTRIES_AT_ONCE = 64
  -- Models that the worker was loading: their leases end with it.
  local function give_up_loads(worker, now, budget)
    local refs = redis.call('SRANDMEMBER', k('loads', worker), budget)
    table.sort(refs)
    for i, ref in ipairs(refs) do
      if work_done(i - 1) >= budget then return i - 1 end
      redis.call('SREM', k('loads', worker), ref)
      if redis.call('HGET', k('load', ref), 'worker') == worker then
        if breaker(ref, now) == 'open' then redis.call('DEL', k('load', ref))
        else order_load(ref, ref .. worker, now) end
      end
    end
    return #refs
  end

  -- Entries with their payloads, `count` at most; of those that have started, and may have crashed it, each after the others.
  local function next_entries(worker, count)
    local ids, rows, entries = {}, {{}, {}}, redis.call('XRANGE', k('work', worker), '-', '+', 'COUNT', count)
    if #entries == 0 then return rows end
    for i, e in ipairs(entries) do ids[i] = e[1] end
    for i, batch in ipairs(redis.call('HMGET', k('started', worker), unpack(ids))) do
      table.insert(rows[batch and 2 or 1], entries[i])
    end
    return rows
  end

  local function move_entries(worker, how, now, budget, done)
    local stream, before = k('work', worker), -1
    while work_done(done) < budget and done > before do
      before = done
      for ran, list in ipairs(next_entries(worker, math.min(ENTRIES_AT_ONCE, budget - done))) do
        for _, e in ipairs(list) do
          if work_done(done) >= budget then return done end
          done = done + 1
          local item = moving(e[2], stream, e[1])
          if item and ran == 2 then item.attempts = item.attempts + 1 end
          if item and take_entry(stream, e[1], item.model) then move(item, worker, how, now) end
        end
      end
    end
    return done
  end

  local function forget_copies(worker, count)
    for _, ref in ipairs(redis.call('SPOP', k('holds', worker), count)) do
      redis.call('HDEL', k('holders', ref), worker)
      notify_holders(ref, NOTIFIED.some)
    end
  end

  -- Whether its release is under way: any process may go on with it.
  function is_released(worker)
    return redis.call('EXISTS', k('worker', worker)) == 0 and redis.call('ZSCORE', WORKERS, worker) ~= false
  end

  -- Returns what is left: loads, entries and copies. budget: how many of them, where an order counts ORDER_UNITS more.
  function release_worker(worker, how, budget, now)
    local stream, loads, holds = k('work', worker), k('loads', worker), k('holds', worker)
    unindex_class(worker)
    note_host(worker, false)
    redis.call('DEL', k('worker', worker), k('changed', worker))
    redis.call('HDEL', UNHEALTHY, worker)
    redis.call('ZADD', WORKERS, 0, worker)
    local done = give_up_loads(worker, now, budget)
    if redis.call('SCARD', loads) == 0 then done = move_entries(worker, how, now, budget, done) end
    local rest = budget - work_done(done)
    if rest > 0 then forget_copies(worker, rest) end
    local entries = redis.call('XLEN', stream)
    local left = redis.call('SCARD', loads) + entries + redis.call('SCARD', holds)
    if entries == 0 then redis.call('DEL', stream, k('started', worker), k('queued', worker)) end
    if left == 0 then redis.call('ZREM', WORKERS, worker) end
    return left
  end
end
