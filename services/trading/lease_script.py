"""What Redis does in one go when a replica takes its turn at the leases (Lua)."""

from __future__ import annotations

TURN = """
-- KEYS: replicas, grace, the lease of every symbol, the fence of every symbol
-- ARGV: owner, life in ms, limit, ready, then for every symbol whether the owner keeps it
-- Returns: own share, symbols beyond all limits, whether the owner is the first, then for every
-- symbol its fence if the owner has it, 0 if another replica has it, -1 if nobody has
local n = (#KEYS - 2) / 2
local me, life, limit, ready = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local replicas, joined = {}, now
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local other = cjson.decode(known[i + 1])
  if known[i] == me then
    joined = other.joined
  elseif other.till + 10000 <= now then
    redis.call('HDEL', KEYS[1], known[i])
  elseif other.till > now or not (ready or other.ready) then
    -- One that loads may be too busy to renew; another that would have to load too lets it be.
    other.name = known[i]
    replicas[#replicas + 1] = other
  end
end
local own = {name = me, joined = joined, till = now + life, limit = limit, ready = ready, have = 0}
replicas[#replicas + 1] = own
table.sort(replicas, function(a, b)
  if a.joined ~= b.joined then return a.joined < b.joined end
  return a.name < b.name
end)

-- A token is never below the clock in ms, so that it grows even after Redis has lost its data.
local function take(i)
  redis.call('SET', KEYS[2 + i], me, 'PX', life)
  local fence = math.max(tonumber(redis.call('GET', KEYS[2 + n + i]) or '0') + 1, now)
  redis.call('SET', KEYS[2 + n + i], string.format('%.0f', fence))
  return fence
end

local found, held = {}, {}
for i = 1, n do
  local owner = redis.call('GET', KEYS[2 + i])
  found[i] = owner and 0 or -1
  if owner == me then
    redis.call('PEXPIRE', KEYS[2 + i], life)
    found[i] = tonumber(redis.call('GET', KEYS[2 + n + i]) or '0')
    if found[i] == 0 then found[i] = take(i) end
  elseif not owner and ARGV[4 + i] == '1' then
    -- Redis was away or has lost its data: the others get time to take back what they keep.
    found[i], owner = take(i), me
    redis.call('SET', KEYS[2], '1', 'PX', life)
  end
  if owner then held[owner] = (held[owner] or 0) + 1 end
end

-- One symbol each, round after round. A replica that is not ready keeps what it has, and gets
-- more only if the ready ones are at their limits.
local left, shares = n, {}
local function share_out(all)
  local given = true
  while left > 0 and given do
    given = false
    for _, r in ipairs(replicas) do
      local most = r.limit
      if not (all or r.ready) then most = math.min(most, math.max(held[r.name] or 0, r.have)) end
      if left > 0 and (shares[r.name] or 0) < most then
        shares[r.name] = (shares[r.name] or 0) + 1
        left, given = left - 1, true
      end
    end
  end
end
share_out(false)
share_out(true)

local have, due = held[me] or 0, shares[me] or 0
if redis.call('EXISTS', KEYS[2]) == 0 then
  for i = 1, n do
    if found[i] == -1 and have < due then
      found[i] = take(i)
      have = have + 1
    end
  end
end
own.have = have
redis.call('HSET', KEYS[1], me, cjson.encode(own))
return {due, left, replicas[1].name == me and 1 or 0, unpack(found)}
"""

RELEASE = """
-- KEYS: leases; ARGV: owner
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 1
"""
