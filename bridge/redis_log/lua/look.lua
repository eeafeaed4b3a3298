-- How the log stands, and some sources and destinations in it. Writes nothing.
-- KEYS  events, parked
-- ARGV  1 what the partition's keys start with   2 number of sources, then their ids; then the destinations' names
-- Answer: {now, ms since 1970, {entries, entries ever added, last id, parked}, {source ...}, {destination ...}}.
--         A source is {sequence, cursor, state, reason, time}, each false where it is not stored. A destination is
--         {name, standing, last id looked at, entries behind, taken up, waiting lanes, due and oldest in ms, letters,
--         entries in the first of those lanes},
--         what is not known false. Behind those asked for come others that have a group and dead letters.
local root, sources = ARGV[1], {}
local MOST_LANES = 100 -- of a destination whose entries are counted: nobody else is answered meanwhile
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function fields(flat)
  local found = {}
  for at = 1, #flat, 2 do found[flat[at]] = flat[at + 1] end
  return found
end

local log, groups = {0, 0, '0-0', redis.call('XLEN', KEYS[2])}, {}
if redis.call('EXISTS', KEYS[1]) == 1 then
  local stream = fields(redis.call('XINFO', 'STREAM', KEYS[1]))
  log[1], log[2], log[3] = stream['length'], stream['entries-added'], stream['last-generated-id']
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = fields(flat)
    groups[group['name']] = group
  end
end

local first = 3 + tonumber(ARGV[2])
for at = 3, first - 1 do
  sources[#sources + 1] = redis.call(
    'HMGET', root .. ':source:' .. ARGV[at], 'sequence', 'cursor', 'state', 'reason', 'time')
end

local following = {} -- what comes after an entry, in ms; several destinations stand at the same one

local function after(id)
  if following[id] == nil then
    local found = redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 1)
    following[id] = found[1] and tonumber(string.match(found[1][1], '^%d+')) or false
  end
  return following[id]
end

local function earlier(one, other)
  return one and other and math.min(one, other) or one or other or false
end

local function destination(name)
  local held, dead = redis.call('HLEN', root .. ':held:' .. name), redis.call('XLEN', root .. ':dead:' .. name)
  local found = {name, redis.call('HGET', root .. ':destination:' .. name, 'standing'), '', 0, 0, held, false, false, dead, 0}
  if held > 0 then
    local lanes = redis.call('ZRANGE', root .. ':oldest:' .. name, 0, MOST_LANES - 1)
    found[10] = #lanes
    for _, lane in ipairs(lanes) do
      found[10] = found[10] + redis.call('LLEN', root .. ':lane:' .. name .. '/' .. lane)
    end
    local due = redis.call('ZRANGE', root .. ':due:' .. name, 0, 0, 'WITHSCORES')
    local oldest = redis.call('ZRANGE', root .. ':oldest:' .. name, 0, 0, 'WITHSCORES')
    found[7], found[8] = tonumber(due[2]) or false, tonumber(oldest[2]) or false
  end
  local group = groups[name]
  if group then
    found[3], found[4], found[5] = group['last-delivered-id'], group['lag'], group['pending']
    if group['lag'] ~= 0 then
      found[8] = earlier(found[8], after(group['last-delivered-id']))
    end
    if group['pending'] > 0 then
      local id = redis.call('XPENDING', KEYS[1], name)[2]
      found[8] = earlier(found[8], id and tonumber(string.match(id, '^%d+')))
    end
  end
  return found
end

local destinations, asked = {}, {}
for at = first, #ARGV do
  asked[ARGV[at]] = true
  destinations[#destinations + 1] = destination(ARGV[at])
end
for name in pairs(groups) do
  if not asked[name] and redis.call('EXISTS', root .. ':dead:' .. name) == 1 then
    destinations[#destinations + 1] = destination(name)
  end
end
return {now, log, sources, destinations}
