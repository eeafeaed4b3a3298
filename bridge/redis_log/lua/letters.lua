-- A page of a destination's dead letters without their events: what they are about, and whether they are tried again.
-- KEYS  destination hash, dead letters
-- ARGV  1 "XRANGE" or "XREVRANGE"   2 where to begin   3 where to end   4 most letters
-- Answer: {id, mark ("" = none), id of the event, type, subject, entry, attempts, last status, last error, time} of each.
-- Writes nothing. Whole letters are large: few are held at once.
local STEP = 16

local names = {'id', 'type', 'subject', 'entry', 'attempts', 'last_status', 'last_error', 'time'}
local letters, from, most = {}, ARGV[2], tonumber(ARGV[4])
while #letters < most do
  local wanted = math.min(STEP, most - #letters)
  local found = redis.call(ARGV[1], KEYS[2], from, ARGV[3], 'COUNT', wanted)
  for _, one in ipairs(found) do
    local at = {}
    for field = 1, #one[2], 2 do at[one[2][field]] = one[2][field + 1] end
    local letter = {one[1], redis.call('HGET', KEYS[1], 'again:' .. one[1]) or ''}
    for _, name in ipairs(names) do letter[#letter + 1] = at[name] or '' end
    letters[#letters + 1] = letter
    from = '(' .. one[1]
  end
  if #found < wanted then break end
end
return letters
