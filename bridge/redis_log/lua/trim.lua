-- Removes old entries: by age never one that a destination has not settled, by count whatever it takes.
-- KEYS  events
-- ARGV  1 oldest time kept, ms since 1970   2 most entries kept   3 most removed in one call
--       then for each destination: its group, its key of oldest waiting entries
-- Answer: {removed, of these unsettled, entries still too many}.
local function less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_seq) < tonumber(b_seq)
end

local groups = {}
local listed = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if listed.err then
  return {0, 0, 0}
end
for _, group in ipairs(listed) do
  local at = {}
  for field = 1, #group, 2 do at[group[field]] = group[field + 1] end
  groups[at['name']] = at
end

-- a destination's replays have groups of their own, `<destination>~<id>`
local names, waiting_of = {}, {}
for at = 4, #ARGV, 2 do
  names[#names + 1] = ARGV[at]
  waiting_of[ARGV[at]] = ARGV[at + 1]
end
for name in pairs(groups) do
  local of, id = string.match(name, '^([^~]+)(~.+)$')
  if of and waiting_of[of] then
    names[#names + 1] = name
    waiting_of[name] = waiting_of[of] .. id
  end
end

-- every entry below this id is settled everywhere
local floor = '18446744073709551615-18446744073709551615'
for _, name in ipairs(names) do
  local group = groups[name]
  if not group then
    floor = '0-1'  -- the first id there can be: it has settled nothing yet
  else
    local ms, seq = string.match(group['last-delivered-id'], '^(%d+)-(%d+)$')
    local candidates = {ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)}
    if group['pending'] > 0 then
      candidates[2] = redis.call('XPENDING', KEYS[1], name)[2]
    end
    local waiting = redis.call('ZRANGE', waiting_of[name], 0, 0, 'WITHSCORES')
    if waiting[2] then
      candidates[#candidates + 1] = waiting[2] .. '-0'
    end
    for _, id in ipairs(candidates) do
      if less(id, floor) then floor = id end
    end
  end
end

local keep = ARGV[1] .. '-0'
if less(floor, keep) then keep = floor end
local removed = redis.call('XTRIM', KEYS[1], 'MINID', '=', keep)

local unsettled = 0
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2])
if excess > 0 then
  local now = math.min(excess, tonumber(ARGV[3]))
  local settled = redis.call('XRANGE', KEYS[1], '-', '(' .. floor, 'COUNT', now)
  unsettled = now - #settled
  removed = removed + redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', redis.call('XLEN', KEYS[1]) - now)
  excess = excess - now
end
return {removed, unsettled, math.max(0, excess)}
