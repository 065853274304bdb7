from nslab.linux.agents import Agents as Agents
