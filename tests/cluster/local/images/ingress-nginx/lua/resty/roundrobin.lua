-- Weighted round robin with the interface of lua-resty-balancer: each turn visits a node as often as it weighs.
local RoundRobin = {}
RoundRobin.__index = RoundRobin

function RoundRobin.new(_, nodes)
  local self = setmetatable({}, RoundRobin)
  self:reinit(nodes)
  return self
end

function RoundRobin:reinit(nodes)
  self.nodes, self.turn = {}, {}
  for node, weight in pairs(nodes) do
    self.nodes[node] = weight
    for _ = 1, weight do
      self.turn[#self.turn + 1] = node
    end
  end
  table.sort(self.turn)
  -- The workers start at different places, or they would all send their first request to the same node.
  self.position = #self.turn > 0 and math.random(#self.turn) or 0
end

function RoundRobin:find()
  if #self.turn == 0 then
    return nil
  end
  self.position = self.position % #self.turn + 1
  return self.turn[self.position]
end

return RoundRobin
