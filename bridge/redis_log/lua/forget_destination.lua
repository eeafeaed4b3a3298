-- Forgets a destination's place in the log, and what waits there; its dead letters stay.
-- KEYS  events, destination hash, held, due, oldest, lanes, requests, all destinations with requests
-- ARGV  1 destination   2 what the lists of its waiting lanes begin with
-- Answer: {"OK"}.
for _, lane in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  redis.call('DEL', ARGV[2] .. lane, ARGV[2] .. lane .. '\n')
end
for _, lane in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('DEL', ARGV[2] .. lane, ARGV[2] .. lane .. '\n')
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
redis.call('SREM', KEYS[8], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
end
return {'OK'}
