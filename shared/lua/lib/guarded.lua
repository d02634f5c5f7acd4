-- guarded: a member that cannot be handled (a key of the wrong type, say) fails alone, and the others go on.
local ERRORS_MAX = 8
local errors = {}  -- 'member: error', for a gateway's log

-- What call(...) returns, or nil if it raised.
local function guarded(member, call, ...)
  local ok, answer = pcall(call, ...)
  if ok then return answer end
  if #errors < ERRORS_MAX then
    errors[#errors + 1] = member .. ': ' .. tostring(type(answer) == 'table' and answer.err or answer)
  end
end
