-- A page of the parked records without their bytes, which may be 256 MiB each: one at a time is looked at.
-- KEYS  parked records
-- ARGV  1 "XRANGE" or "XREVRANGE"   2 where to begin   3 where to end   4 most records   5 most bytes looked at
-- Answer: {"1" if there may be more, {id, source, reason, size in bytes, cursor} of each}. Writes nothing.
local found, from, most, room = {}, ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
while #found < most and room > 0 do
  local one = redis.call(ARGV[1], KEYS[1], from, ARGV[3], 'COUNT', 1)[1]
  if not one then return {'0', found} end
  local at = {}
  for field = 1, #one[2], 2 do at[one[2][field]] = one[2][field + 1] end
  local size = #(at['raw'] or '')
  room = room - size
  found[#found + 1] = {one[1], at['source'] or '', at['reason'] or '', size, at['cursor'] or ''}
  from = '(' .. one[1]
end
return {'1', found}
