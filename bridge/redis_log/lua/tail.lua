-- What one partition of the log has after an entry, and how far it goes, both at the same moment.
-- KEYS  log
-- ARGV  1 the entry ("0-0" = from the start)   2 most entries   3 most bytes of events (one entry at least)
--       4 "newest": the last ones, newest first, without their events; else the next ones
-- Answer: {first entry, last entry there ever was, entries ever added, entries there are, "1" if ARGV 1 is there,
--          {id, {field, value, ...}} of each}. Writes nothing.
local STEP = 16

if redis.call('EXISTS', KEYS[1]) == 0 then return {'0-0', '0-0', 0, 0, '0', {}} end
local at, flat = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for field = 1, #flat, 2 do at[flat[field]] = flat[field + 1] end
local first = at['first-entry'] and at['first-entry'][1] or '0-0'

local found, most, room = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
local newest, after, last = ARGV[4] == 'newest', '(' .. ARGV[1], '+'
while #found < most and room > 0 do
  local wanted = math.min(STEP, most - #found)
  local page
  if newest then page = redis.call('XREVRANGE', KEYS[1], last, after, 'COUNT', wanted)
  else page = redis.call('XRANGE', KEYS[1], after, last, 'COUNT', wanted) end
  for _, one in ipairs(page) do
    if room > 0 then
      local fields = {}
      for field = 1, #one[2], 2 do
        local name, value = one[2][field], one[2][field + 1]
        if not newest or name ~= 'event' then
          fields[#fields + 1], fields[#fields + 2] = name, value
          room = room - #value
        end
      end
      found[#found + 1] = {one[1], fields}
    end
    if newest then last = '(' .. one[1] else after = '(' .. one[1] end
  end
  if #page < wanted then break end
end
local there = #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1], 'COUNT', 1) > 0 and '1' or '0'
return {first, at['last-generated-id'], at['entries-added'], at['length'], there, found}
