#!lua name=tw
-- Every step that touches more than one key of a run is one of these functions: it happens whole or not at all.
-- Roles get +fcall and never +eval; the commands inside are checked against the caller's own rights. What other roles
-- may write as well can be of any type and content: where that must not stop the caller, it is asked with pcall.

local function now()
  local t = redis.call('TIME')
  return t[1] .. '.' .. string.format('%06d', t[2])
end

local function contains(csv, word)
  for item in string.gmatch(csv, '[^,]+') do
    if item == word then return true end
  end
  return false
end

-- A function that is carried out although Redis is full: what moves runs on to their end makes room again.
local function always(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'allow-oom'}}
end

local function is_error(answer)
  return type(answer) == 'table' and answer.err ~= nil
end

-- a field of a hash, or '' when there is none
local function field(key, name)
  local value = redis.pcall('HGET', key, name)
  return type(value) == 'string' and value or ''
end

-- a job of RQ, once: its hash, its place in the queue, the queue's name (only shown to people, so it may be in vain)
local function enqueue(job, queue, queues, id, fields)
  if redis.call('EXISTS', job) == 1 then return 0 end
  redis.call('HSET', job, unpack(fields))
  redis.call('RPUSH', queue, id)
  redis.pcall('SADD', queues, queue)
  return 1
end

local function slice(args, first, count)
  local out = {}
  for i = first, first + count - 1 do out[#out + 1] = args[i] end
  return out
end

-- A claim becomes a record, credentials and a job, once.
-- KEYS task, run, runs, credentials, job, queue, queues
-- ARGV run, credentials, n, field of the task, value..., job id, field, value...
redis.register_function('tw_claim', function(keys, args)
  if redis.call('EXISTS', keys[2]) == 1 then return 0 end
  local n = tonumber(args[3])
  redis.call('DEL', keys[1])
  redis.call('HSET', keys[1], unpack(slice(args, 4, n)))
  redis.call('HSET', keys[2], 'phase', 'claimed', 'since', now(), 'owner', '')
  redis.call('SADD', keys[3], args[1])
  redis.call('SET', keys[4], args[2])
  enqueue(keys[5], keys[6], keys[7], args[4 + n], slice(args, 5 + n, #args - 4 - n))
  return 1
end)

-- Compare and set. Refused with {0, phase, owner}: whoever can prove that owner dead calls again and names it.
-- KEYS run   ARGV allowed phases (csv), new phase, new owner, owner that may be replaced, field, value...
always('tw_move', function(keys, args)
  local phase = redis.call('HGET', keys[1], 'phase') or 'absent'
  local owner = redis.call('HGET', keys[1], 'owner') or ''
  local taken = owner ~= '' and owner ~= args[3] and owner ~= args[4]
  if not contains(args[1], phase) or taken then return {0, phase, owner} end
  redis.call('HSET', keys[1], 'phase', args[2], 'owner', args[3], 'since', now(), unpack(args, 5))
  return {1, phase, owner}
end)

-- collecting -> uploading, with what became of the run: every batch is pending and queued in the same step; without
-- batches the last step is queued. What an early upload has said stays.
-- KEYS run, upload, pending, queue, queues, finish job, job...
-- ARGV owner, outcome, fields of each job (n), finish id, finish fields..., id, fields..., id, fields...
always('tw_fanout', function(keys, args)
  local phase = redis.call('HGET', keys[1], 'phase') or 'absent'
  local owner = redis.call('HGET', keys[1], 'owner') or ''
  if phase ~= 'collecting' or owner ~= args[1] then return {0, phase, owner} end
  local n, at = tonumber(args[3]), 4
  local batches = #keys - 6
  redis.call('HSET', keys[1], 'phase', 'uploading', 'owner', '', 'since', now(), 'outcome', args[2])
  local first = batches > 0 and 'uploading' or 'finishing'
  if is_error(redis.pcall('HSET', keys[2], 'phase', first)) then
    redis.call('DEL', keys[2])
    redis.call('HSET', keys[2], 'phase', first)
  end
  redis.call('DEL', keys[3])
  if batches == 0 then
    enqueue(keys[6], keys[4], keys[5], args[at], slice(args, at + 1, n))
  end
  for k = 7, #keys do
    at = at + 1 + n
    redis.call('SADD', keys[3], args[at])
    enqueue(keys[k], keys[4], keys[5], args[at], slice(args, at + 1, n))
  end
  return {1, phase, owner}
end)

-- One job, once.
-- KEYS job, queue, queues   ARGV job id, field, value...
redis.register_function('tw_put', function(keys, args)
  return enqueue(keys[1], keys[2], keys[3], args[1], slice(args, 2, #args - 1))
end)

-- A batch is done; the last one out moves the run on and queues the last step.
-- KEYS upload, pending, finish job, queue, queues   ARGV batch id, finish id, field, value...
always('tw_done', function(keys, args)
  if redis.call('SREM', keys[2], args[1]) == 0 then return -1 end
  local left = redis.call('SCARD', keys[2])
  if left == 0 and redis.call('HGET', keys[1], 'phase') == 'uploading' then
    redis.call('HSET', keys[1], 'phase', 'finishing')
    enqueue(keys[3], keys[4], keys[5], args[2], slice(args, 3, #args - 2))
  end
  return left
end)

-- Everything is uploaded: the claimer's turn.
-- KEYS upload, inbox   ARGV run
always('tw_uploaded', function(keys, args)
  if redis.call('HGET', keys[1], 'phase') ~= 'finishing' then return 0 end
  redis.call('HSET', keys[1], 'phase', 'uploaded')
  redis.call('RPUSH', keys[2], args[1])
  return 1
end)

-- The claimer ends a run that nobody else will end.
-- KEYS run, upload, inbox   ARGV run, allowed phases (csv), outcome
always('tw_end', function(keys, args)
  local phase = field(keys[1], 'phase')
  if phase == 'uploading' then phase = field(keys[2], 'phase') end
  if not contains(args[2], phase) then return 0 end
  redis.call('HSET', keys[1], 'phase', 'uploaded', 'owner', '', 'since', now(), 'outcome', args[3])
  redis.pcall('RPUSH', keys[3], args[1])
  return 1
end)

-- The queue knows: the run leaves the active ones; where it stands is kept for a while, so that no late claim begins it
-- again; its credentials and all that may be large go at once.
-- KEYS task, run, upload, runs, credentials, pending, manifest, notes   ARGV run, seconds to keep the record
always('tw_resolved', function(keys, args)
  redis.call('HSET', keys[2], 'phase', 'resolved', 'owner', '', 'since', now())
  redis.call('HDEL', keys[1], 'definition', 'expandedScopes')
  for k = 1, 3 do redis.call('EXPIRE', keys[k], args[2]) end
  redis.call('DEL', keys[5], keys[6], keys[7], keys[8])
  return redis.call('SREM', keys[4], args[1])
end)

-- An orphaned job goes back to the front of its queue, once, and not for ever.
-- KEYS wip, intermediate, queue, job, failed   ARGV member of wip ('' = only in intermediate), job id, most requeues
always('tw_requeue', function(keys, args)
  local got = 0
  if args[1] ~= '' then
    got = redis.call('ZREM', keys[1], args[1])
  else
    for _, member in ipairs(redis.call('ZRANGE', keys[1], 0, -1)) do
      if string.sub(member, 1, #args[2] + 1) == args[2] .. ':' then return 0 end
    end
  end
  local waiting = redis.call('LREM', keys[2], 1, args[2])
  if got + waiting == 0 or redis.call('EXISTS', keys[4]) == 0 then return 0 end
  local status = redis.call('HGET', keys[4], 'status') or ''
  if contains('finished,failed,stopped,canceled', status) then return 0 end
  if redis.call('HINCRBY', keys[4], 'tw_requeues', 1) > tonumber(args[3]) then
    redis.call('HSET', keys[4], 'status', 'failed')
    redis.call('ZADD', keys[5], tonumber(redis.call('TIME')[1]) + 86400, args[2])
    return -1
  end
  redis.call('HSET', keys[4], 'status', 'queued')
  redis.call('LPUSH', keys[3], args[2])
  return 1
end)
